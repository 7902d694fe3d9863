"""The same restorer at full scale: SD-Turbo or another Stable Diffusion pipeline with LoRA.

Two U-Nets of one pipeline: the restorer's, with low-rank factors on every layer and a trained first
convolution, and a frozen one that reads references nearly clean. What the decoder's self-attentions
of the second hold goes into those of the first, through the attention of `attention.py`.

Source: Zhang et al. 2025, "InstantRestore" (arXiv:2412.06753), released code: SD-Turbo, rank 32
with alpha 16, t = 249 in one step and t = 1 for references. Latents are the encoder's mode and the
noise is at its mean here, so nothing is drawn at inference.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from safetensors.torch import load as safetensors_values
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from edgekit.core.errors import BadInput, EdgekitError
from edgekit.core.store import write_bytes
from edgekit.distill.restorer.attention import (
    Gate,
    LayerMemory,
    Memory,
    Seen,
    adain,
    mixed,
    shared,
)
from edgekit.distill.restorer.one_step import Form, Given
from edgekit.distill.teachers.loader import load_teacher

PROMPT = "a high-quality photo of a person"
STEP, REFERENCE_STEP = 249, 1
"""Training timesteps at which the degraded portrait and references enter."""
ADAPTER = "adapter.safetensors"


@dataclass(slots=True)
class _Now:
    """What the attentions of one call share; layers take their turns."""

    memory: Memory | None = None
    seen: Seen | None = None
    turn: int = 0

    def layer(self) -> LayerMemory | None:
        """Return the memory of the layer whose turn it is."""
        self.turn += 1
        return None if self.memory is None else self.memory.layers[self.turn - 1]


class SharedProcessor:
    """diffusers' attention processor for a decoder's self-attention."""

    def __init__(self, now: _Now, *, adain: bool = False, gate: Gate | None = None) -> None:
        """`now` is shared by all layers of a network."""
        self.now, self.adain, self.gate = now, adain, gate

    def __call__(self, attn: Any, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Return attention to own tokens and to those of references, if there are any."""
        q_BNC, k_BNC, v_BNC = (f(hidden_states) for f in (attn.to_q, attn.to_k, attn.to_v))
        if self.now.seen is not None:
            self.now.seen.queries.append(q_BNC)
            self.now.seen.own.append((k_BNC, v_BNC))
        layer, head_dim = self.now.layer(), q_BNC.shape[-1] // attn.heads
        if layer is None or self.now.memory is None:
            y_BNC = mixed(q_BNC, k_BNC, v_BNC, head_dim)
        else:
            keys, values = (part.to(q_BNC.dtype) for part in layer)
            values = adain(values, v_BNC) if self.adain else values
            gate = None if self.gate is None else self.gate(q_BNC, keys)
            own = (k_BNC, v_BNC)
            y_BNC = shared(q_BNC, own, (keys, values), self.now.memory.mask, gate, head_dim)
        made: Tensor = attn.to_out[1](attn.to_out[0](y_BNC)) / attn.rescale_output_factor
        return made


class TurboRestorer(nn.Module):
    """A one-step restorer built from a Stable Diffusion pipeline."""

    words: Tensor
    signal: Tensor

    def __init__(self, pipeline: Any, form: Form, *, rank: int, seed: int) -> None:
        """Take the pipeline's networks; random factors follow from `seed` alone.

        Raises EdgekitError for a pipeline of another kind or a form that it cannot have.
        """
        super().__init__()
        unet, vae = getattr(pipeline, "unet", None), getattr(pipeline, "vae", None)
        if unet is None or vae is None or unet.config.in_channels != vae.config.latent_channels:
            raise EdgekitError(
                f"{type(pipeline).__name__} has no U-Net that takes a picture's latents alone",
                hint="name a Stable Diffusion 1 or 2 pipeline, such as stabilityai/sd-turbo",
            )
        if unet.config.addition_embed_type is not None or form.conditioning in ("channels", "code"):
            raise EdgekitError(
                f"{type(pipeline).__name__} cannot be a restorer of the form {form.conditioning}",
                hint="use --form memory or none with a Stable Diffusion 1 or 2 pipeline",
            )
        self.form, self.conditioning = form, form.conditioning
        self.scaling = float(vae.config.scaling_factor)
        self.velocity = pipeline.scheduler.config.prediction_type == "v_prediction"
        alphas = pipeline.scheduler.alphas_cumprod
        self.register_buffer("signal", alphas[STEP].float().reshape(1), persistent=False)
        self.register_buffer("words", _words(pipeline), persistent=False)
        self.branch = copy.deepcopy(unet).eval().requires_grad_(False)
        self.reader = copy.deepcopy(vae).eval().requires_grad_(False)
        self.unet, self.vae = unet.requires_grad_(False), vae.requires_grad_(False)
        attentions = decoder_attentions(self.unet)
        widths = [int(layer.to_q.out_features) for layer in attentions]
        self.head_dims: tuple[int, ...] = tuple(
            width // layer.heads for width, layer in zip(widths, attentions, strict=True)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            wants = form.gate and form.conditioning == "memory"
            self.gates = nn.ModuleList(Gate(width) for width in widths) if wants else None
            self._now, self._reads = _Now(), _Now()
            for i, layer in enumerate(attentions):
                gate: Any = None if self.gates is None else self.gates[i]
                layer.set_processor(SharedProcessor(self._now, adain=form.adain, gate=gate))
            for layer in decoder_attentions(self.branch):
                layer.set_processor(SharedProcessor(self._reads))
            for network, without in ((self.unet, ("conv_in",)), (self.vae, ())):
                names = adapted(network, without)
                config = LoraConfig(r=rank, lora_alpha=max(1, rank // 2), target_modules=names)
                inject_adapter_in_model(config, network)
        self.unet.conv_in.requires_grad_(True)

    def given(self, references: Tensor, mask: Tensor, code: Tensor | None = None) -> Given:
        """Return the memory of references B x R x 3 x S x S."""
        if self.conditioning == "none":
            return Given()
        num = references.shape[:2]
        with torch.no_grad():
            latents = self._latents(self.reader, references.flatten(0, 1))
            self._reads.seen, self._reads.turn = Seen(), 0
            self._answer(self.branch, latents, REFERENCE_STEP)
            held, self._reads.seen = self._reads.seen.own, None
        layers = tuple(
            (keys.reshape(*num, *keys.shape[1:]), values.reshape(*num, *values.shape[1:]))
            for keys, values in held
        )
        return Given(Memory(layers, mask))

    def restored(self, degraded: Tensor, given: Given, seen: Seen | None = None) -> Tensor:
        """Return restored pictures, not clamped."""
        noisy = self._latents(self.vae, degraded) * self.signal.sqrt()
        self._now.memory, self._now.seen, self._now.turn = given.memory, seen, 0
        answer = self._answer(self.unet, noisy, STEP).float()
        self._now.memory = self._now.seen = None
        signal, noise = self.signal.sqrt(), (1 - self.signal).sqrt()
        clean = signal * noisy - noise * answer if self.velocity else noisy - noise * answer
        if not self.velocity:
            clean = clean / signal
        made: Tensor = self.vae.decode(clean / self.scaling, return_dict=False)[0]
        return made

    def _latents(self, vae: Any, pictures: Tensor) -> Tensor:
        encoded = vae.encode(pictures)
        latents: Tensor = (
            encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        )
        return latents * self.scaling

    def _answer(self, unet: Any, latents: Tensor, step: int) -> Tensor:
        words = self.words.expand(len(latents), -1, -1)
        times = torch.full((len(latents),), step, device=latents.device)
        answer: Tensor = unet(latents, times, encoder_hidden_states=words, return_dict=False)[0]
        return answer


def decoder_attentions(unet: nn.Module) -> list[Any]:
    """Return the self-attentions of the decoder of a U-Net, in the order in which they run."""
    return [
        module
        for name, module in unet.named_modules()
        if name.startswith("up_blocks.") and name.endswith(".attn1")
    ]


def adapted(network: nn.Module, without: tuple[str, ...]) -> list[str]:
    """Return the names of all layers that get factors."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and name not in without
    ]


def _words(pipeline: Any) -> Tensor:
    tokenizer = pipeline.tokenizer
    ids = tokenizer(
        PROMPT,
        padding="max_length",
        max_length=tokenizer.model_max_length,
        truncation=True,
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        states: Tensor = pipeline.text_encoder(ids).last_hidden_state
    return states.float()


def turbo_restorer(where: str, form: Form, *, rank: int, seed: int) -> tuple[TurboRestorer, str]:
    """Return an untrained restorer from a diffusers folder or hub id, and its identity.

    Raises BadInput for a folder that is no pipeline or an id that cannot be fetched, EdgekitError
    for a pipeline that cannot be one.
    """
    teacher = load_teacher(where, device="cpu", dtype="float32", tune=False)
    return TurboRestorer(teacher.pipeline, form, rank=rank, seed=seed), teacher.identity


def save_turbo(folder: Path, restorer: TurboRestorer, facts: Mapping[str, Any]) -> Path:
    """Write what was trained, in float16: factors, first convolution and gates."""
    trained = {
        name: value.detach().to("cpu", torch.float16).contiguous()
        for name, value in restorer.named_parameters()
        if value.requires_grad
    }
    told = {"facts": json.dumps(dict(facts), sort_keys=True)}
    write_bytes(folder / ADAPTER, safetensors_bytes(trained, metadata=told))
    return folder / ADAPTER


def use_turbo(path: Path, restorer: TurboRestorer) -> None:
    """Put what `save_turbo` wrote into a restorer of the same base, form and rank.

    Raises BadInput for a file that is not of this restorer.
    """
    wanted = {name: value for name, value in restorer.named_parameters() if value.requires_grad}
    try:
        values = safetensors_values(path.read_bytes())
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error}", hint="check the path") from error
    shapes = {name: tuple(value.shape) for name, value in values.items()}
    if shapes != {name: tuple(value.shape) for name, value in wanted.items()}:
        raise BadInput(
            f"{path} was not trained on this base in this form",
            hint="use the base, form and rank of its recipe.toml",
        )
    with torch.no_grad():
        for name, value in values.items():
            wanted[name].copy_(value)
