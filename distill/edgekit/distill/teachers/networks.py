"""The parts of the bundled teacher: their sizes, how they are built, saved and read back.

Everything is a stock class of diffusers or transformers, so that a plain
`StableDiffusionInstructPix2PixPipeline.from_pretrained(folder)` loads the result.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderTiny,
    DDIMScheduler,
    StableDiffusionInstructPix2PixPipeline,
    UNet2DConditionModel,
)
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
MAX_TOKENS = 24
LATENT_CHANNELS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Widths of the three networks; the defaults are the shipped teacher."""

    autoencoder: int = 64
    encoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
    decoder_blocks: tuple[int, ...] = (3, 3, 3, 1)
    unet: tuple[int, ...] = (96, 128, 128)
    time: int = 256
    text: int = 128
    text_layers: int = 2
    heads: int = 4
    groups: int = 16
    vocabulary: int = 1024


TOY = Size(
    autoencoder=16,
    encoder_blocks=(1, 1, 1, 1),
    decoder_blocks=(1, 1, 1, 1),
    unet=(16, 32),
    time=32,
    text=32,
    text_layers=1,
    heads=2,
    groups=8,
    vocabulary=600,
)
"""A teacher that trains in seconds and learns next to nothing: for tests."""


def new_autoencoder(size: Size) -> AutoencoderTiny:
    """An untrained autoencoder, 8x down, 4 latent channels, images in [-1, 1]."""
    widths = (size.autoencoder,) * 4
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=size.encoder_blocks,
        num_decoder_blocks=size.decoder_blocks,
        latent_channels=LATENT_CHANNELS,
        scaling_factor=1.0,
    )


def new_unet(size: Size) -> UNet2DConditionModel:
    """An untrained 8-channel U-Net: noisy latents and source latents in, velocity out.

    The text acts twice: by cross-attention on the reduced grids, and pooled, added to the time
    embedding, on every residual block, which is what a global edit needs on the finest grid.
    """
    levels = len(size.unet)
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=2 * LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        layers_per_block=1,
        block_out_channels=size.unet,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * (levels - 1),
        up_block_types=("CrossAttnUpBlock2D",) * (levels - 1) + ("UpBlock2D",),
        cross_attention_dim=size.text,
        attention_head_dim=size.heads,
        time_embedding_dim=size.time,
        norm_num_groups=size.groups,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=size.heads,
    )


def new_text_encoder(size: Size, tokens: int) -> CLIPTextModel:
    """An untrained CLIP-type text encoder."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=tokens,
            hidden_size=size.text,
            intermediate_size=4 * size.text,
            projection_dim=size.text,
            num_hidden_layers=size.text_layers,
            num_attention_heads=size.heads,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokens - 2,
            eos_token_id=tokens - 1,
            pad_token_id=tokens - 1,
        )
    )


def new_scheduler() -> DDIMScheduler:
    """Noise schedule that ends in pure noise, so that few steps suffice and dark edits stay dark.

    Source: Lin et al. 2024, "Common diffusion noise schedules and sample steps are flawed".
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )


def new_tokenizer(prompts: Sequence[str], size: Size, folder: Path) -> CLIPTokenizer:
    """Train a byte-level BPE on `prompts` and save it as a CLIP tokenizer in `folder`.

    All 256 bytes are in the vocabulary, so unknown words are spelled instead of lost.
    """
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token=END))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=size.vocabulary - 258,
        initial_alphabet=letters,
        end_of_word_suffix="</w>",
        show_progress=False,
        min_frequency=2,
    )
    tokenizer.train_from_iterator(sorted(set(prompts)), trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    words = sorted(trained["vocab"], key=trained["vocab"].__getitem__)
    ends = [letter + "</w>" for letter in letters]
    names = [*letters, *ends, *(w for w in words if w not in {*letters, *ends}), START, END]
    pairs = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in trained["merges"]]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({n: i for i, n in enumerate(names)}))
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in pairs)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    config = {**special, "model_max_length": MAX_TOKENS, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Token ids (n, 24), padded and truncated exactly as the pipeline does it."""
    encoded = tokenizer(
        list(prompts),
        padding="max_length",
        max_length=MAX_TOKENS,
        truncation=True,
        return_tensors="pt",
    )
    ids: Tensor = encoded.input_ids
    return ids


def save_teacher(
    folder: Path,
    *,
    autoencoder: nn.Module,
    unet: nn.Module,
    text_encoder: nn.Module,
    tokenizer_folder: Path,
) -> None:
    """Write a diffusers folder in float16 safetensors."""
    StableDiffusionInstructPix2PixPipeline(
        vae=half_copy(autoencoder),
        text_encoder=half_copy(text_encoder),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer_folder),
        unet=half_copy(unet),
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copyfile(tokenizer_folder / name, folder / "tokenizer" / name)
    _read_as_float32(folder / "text_encoder" / "config.json")


def _read_as_float32(config: Path) -> None:
    """Let transformers widen the stored float16, as diffusers does: the parts must agree."""
    values = json.loads(config.read_text())
    values.pop("torch_dtype", None)
    config.write_text(json.dumps({**values, "dtype": "float32"}, indent=2, sort_keys=True) + "\n")


def half_copy(module: Any) -> Any:
    """A float16 copy on the CPU: save_pretrained writes the dtype it finds."""
    if hasattr(module, "from_config"):  # diffusers
        copy = type(module).from_config(module.config)
    else:  # transformers
        copy = type(module)(module.config)
    copy.load_state_dict(module.state_dict())
    return copy.to(torch.float16).cpu().eval()


def channels_last(module: Any) -> Any:
    """`module` with its convolutions in the memory format that GPUs prefer, changed in place."""
    return module.to(memory_format=torch.channels_last)


def parameters_of(module: nn.Module) -> int:
    """Number of trainable values."""
    return sum(parameter.numel() for parameter in module.parameters())
