"""What a bundle's files are measured beside: made of parts that benchmarks must not import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.core.errors import BadInput

if TYPE_CHECKING:
    import torch

    from edgekit.benchmarks.compare import Candidate
    from edgekit.core.manifest import BundleManifest
    from edgekit.core.tensors import Batch

SD15_STEPS = 20
SD15_GUIDANCE = 7.5
SD15_IMAGE_GUIDANCE = 1.5
"""Guidance of InstructPix2Pix as its authors use it and a usual number of steps; the picture has
the student's size, which is less than the 512 px that the model is made for."""
TEACHER_CALLS = 5
PIX2PIX_CALLS = 10


def baseline_candidates(
    bundle: Path, names: Sequence[str], *, threads: int, teacher: str = "bundled"
) -> list[Candidate]:
    """Return what `names` stand for, to be called on the bundle's first golden picture.

    Torch is told to use `threads` threads. Raises BadInput if the student before export is asked
    for and not there.
    """
    import torch

    from edgekit.core.manifest import read_bundle
    from edgekit.runtime.verify import read_golden

    torch.set_num_threads(threads)
    manifest = read_bundle(bundle)
    golden = read_golden(bundle, manifest)[0]
    image = golden["image"]
    given = [golden[port.name] for port in manifest.models[0].inputs]
    makers: dict[str, Callable[[], Candidate]] = {
        "teacher": lambda: _teacher(teacher, manifest, image),
        "pix2pix": lambda: _pix2pix(image),
        "sd15": lambda: _sd15(image),
        "pytorch": lambda: _pytorch(bundle, given),
    }
    return [makers[name]() for name in names]


def _teacher(where: str, manifest: BundleManifest, image: Batch) -> Candidate:
    from edgekit.benchmarks.compare import Candidate
    from edgekit.core.images import to_bytes
    from edgekit.distill.teachers.folders import describe_teacher
    from edgekit.distill.teachers.loader import load_teacher

    info = describe_teacher(where)
    photos = to_bytes(image).transpose(0, 2, 3, 1)
    known = [row.prompt for row in manifest.concepts]  # a base has no prompt of its own
    prompt = manifest.prompt or (known[0] if known else "make it night")
    facts: dict[str, Any] = {"kind": "baseline", "runtime": "torch", "identity": info.identity}

    def load() -> Callable[[], object]:
        model = load_teacher(where, device="cpu")
        facts["sampling"] = model.sampling
        return lambda: model.edit(photos, prompt, seed=0)

    return Candidate("teacher", load, calls=TEACHER_CALLS, warmup=1, facts=facts)


def _pix2pix(image: Batch) -> Candidate:
    from edgekit.benchmarks.compare import Candidate
    from edgekit.distill.students.resnet9 import ResNet9

    def load() -> Callable[[], object]:
        return _called(ResNet9().eval(), image)

    facts = {"kind": "baseline", "runtime": "torch", "weights": "random"}
    return Candidate("pix2pix", load, calls=PIX2PIX_CALLS, warmup=1, facts=facts)


def _pytorch(bundle: Path, given: Sequence[Batch]) -> Candidate:
    from edgekit.benchmarks.compare import Candidate

    program = bundle.resolve().parent / "student.pt2"
    if not program.is_file():
        raise BadInput(
            f"the student before export is not in the run folder of {bundle}: no {program.name}",
            hint="leave --baseline pytorch out, or measure the bundle inside its run folder",
        )

    def load() -> Callable[[], object]:
        import torch

        return _called(torch.export.load(program).module(), *given)

    return Candidate("pytorch", load, facts={"kind": "baseline", "runtime": "torch"})


def _called(network: torch.nn.Module, *given: Batch) -> Callable[[], object]:
    import torch

    tensors = [torch.from_numpy(value) for value in given]

    def call() -> object:
        with torch.inference_mode():
            return network(*tensors)

    return call


def _sd15(image: Batch) -> Candidate:
    from edgekit.benchmarks.compare import Candidate

    facts = {
        "kind": "baseline",
        "runtime": "torch",
        "weights": "random, float32, of the size of InstructPix2Pix on Stable Diffusion 1.5",
        "sampling": {
            "steps": SD15_STEPS,
            "guidance": SD15_GUIDANCE,
            "image_guidance": SD15_IMAGE_GUIDANCE,
            "size_px": image.shape[-1],
        },
    }
    return Candidate("sd15", lambda: _sd15_call(image), once=True, facts=facts)


def _sd15_call(image: Batch) -> Callable[[], object]:
    """Build the pipeline (4.3 GB) and return one whole edit: text, photo, 20 steps, decoding."""
    import torch

    from edgekit.distill.teachers.folders import quiet

    with quiet():
        pipeline = instruct_pix2pix_of_sd15_size()
    pixels = (torch.from_numpy(image) + 1) / 2  # the pipeline takes [0, 1]
    words = torch.randint(0, 49408, (2, 77), generator=torch.Generator().manual_seed(0))

    def call() -> object:
        with torch.inference_mode():
            text, empty = pipeline.text_encoder(words)[0].split(1)
            return pipeline(
                image=pixels,
                prompt_embeds=text,
                negative_prompt_embeds=empty,
                num_inference_steps=SD15_STEPS,
                guidance_scale=SD15_GUIDANCE,
                image_guidance_scale=SD15_IMAGE_GUIDANCE,
                generator=torch.Generator().manual_seed(0),
                output_type="np",
            )

    return call


def instruct_pix2pix_of_sd15_size() -> Any:
    """Return a StableDiffusionInstructPix2PixPipeline with small random float32 weights."""
    import torch
    from diffusers import PNDMScheduler, StableDiffusionInstructPix2PixPipeline

    parts = parts_of_sd15_size()
    generator = torch.Generator().manual_seed(0)
    for part in parts.values():
        _filled(part, generator)
    pipeline = StableDiffusionInstructPix2PixPipeline(
        **parts,
        tokenizer=None,
        scheduler=PNDMScheduler(
            beta_start=0.00085,
            beta_end=0.012,
            beta_schedule="scaled_linear",
            skip_prk_steps=True,
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def parts_of_sd15_size() -> dict[str, torch.nn.Module]:
    """Return UNet (8 input channels), autoencoder and CLIP-L text encoder, without memory yet.

    1.07 billion parameters together, as in InstructPix2Pix on Stable Diffusion 1.5.
    """
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        unet = UNet2DConditionModel(
            sample_size=64,
            in_channels=8,
            block_out_channels=(320, 640, 1280, 1280),
            cross_attention_dim=768,
            attention_head_dim=8,
        )
        autoencoder = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            layers_per_block=2,
            latent_channels=4,
            sample_size=512,
        )
        text_encoder = CLIPTextModel(
            CLIPTextConfig(
                hidden_size=768,
                intermediate_size=3072,
                num_attention_heads=12,
                num_hidden_layers=12,
                projection_dim=768,
            )
        )
    return {"unet": unet, "vae": autoencoder, "text_encoder": text_encoder}


def _filled(part: torch.nn.Module, generator: torch.Generator) -> None:
    """Give a module that was built without memory its memory and small random weights."""
    import torch

    part.to_empty(device="cpu")
    part.eval()
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.normal_(0.0, 0.02, generator=generator)
        for name, buffer in part.named_buffers():
            if name.endswith("position_ids"):
                buffer.copy_(torch.arange(buffer.shape[-1])[None])
