"""Tiny, randomly initialised pipelines of real diffusers classes, saved to disk without network."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    AutoencoderTiny,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxKontextPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    QwenImageEditPipeline,
    QwenImageEditPlusPipeline,
    QwenImageTransformer2DModel,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInstructPix2PixPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

LETTERS = string.ascii_lowercase + string.digits


def save_tiny(class_name: str, folder: Path, *, turbo: bool = False) -> Path:
    """Save a tiny pipeline of `class_name` to `folder`; `turbo` gives it a few-step scheduler."""
    torch.manual_seed(0)  # the constructors of diffusers draw from the global generator only
    BUILDERS[class_name](folder, turbo)
    return folder


def _clip_tokenizer() -> CLIPTokenizer:
    tokens = [
        "<|startoftext|>",
        "<|endoftext|>",
        *LETTERS,
        *(f"{letter}</w>" for letter in LETTERS),
    ]
    table = {token: i for i, token in enumerate([*tokens, "ma", "mak"])}
    return CLIPTokenizer(table, [("m", "a"), ("ma", "k")], model_max_length=16)


def _clip_config(**more: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=100,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        **more,
    )


def _unet(in_channels: int, **more: object) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=in_channels,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=2,
        **{"cross_attention_dim": 16, **more},
    )


def _autoencoder(latent_channels: int = 4) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latent_channels,
        norm_num_groups=4,
        sample_size=32,
        shift_factor=0.0,
        scaling_factor=1.0,
    )


def _tiny_autoencoder() -> AutoencoderTiny:
    return AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=4,
    )


def _instruct(folder: Path, turbo: bool) -> None:
    StableDiffusionInstructPix2PixPipeline(
        vae=_tiny_autoencoder(),
        text_encoder=CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        unet=_unet(8),
        scheduler=EulerAncestralDiscreteScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def _stable_diffusion(kind: type) -> object:
    def build(folder: Path, turbo: bool) -> None:
        spacing = {"timestep_spacing": "trailing"} if turbo else {}
        scheduler = (
            EulerDiscreteScheduler(steps_offset=1, **spacing)
            if turbo
            else PNDMScheduler(skip_prk_steps=True, steps_offset=1)
        )
        kind(
            vae=_autoencoder(),
            text_encoder=CLIPTextModel(_clip_config()),
            tokenizer=_clip_tokenizer(),
            unet=_unet(4),
            scheduler=scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)

    return build


def _stable_diffusion_xl(kind: type) -> object:
    def build(folder: Path, turbo: bool) -> None:
        spacing = {"timestep_spacing": "trailing"} if turbo else {}
        kind(
            vae=_autoencoder(),
            text_encoder=CLIPTextModel(_clip_config()),
            tokenizer=_clip_tokenizer(),
            text_encoder_2=CLIPTextModelWithProjection(_clip_config(projection_dim=16)),
            tokenizer_2=_clip_tokenizer(),
            unet=_unet(
                4,
                cross_attention_dim=32,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                transformer_layers_per_block=(1, 1),
                projection_class_embeddings_input_dim=16 + 6 * 8,
            ),
            scheduler=EulerDiscreteScheduler(**spacing),
        ).save_pretrained(folder)

    return build


def _kontext(folder: Path, turbo: bool) -> None:
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), ("▁", -2.0)]
    pieces += [(letter, -3.0) for letter in LETTERS]
    FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=_autoencoder(latent_channels=4),
        text_encoder=CLIPTextModel(_clip_config()),
        tokenizer=_clip_tokenizer(),
        text_encoder_2=T5EncoderModel(
            T5Config(vocab_size=160, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
        ),
        tokenizer_2=T5Tokenizer(pieces, extra_ids=4, model_max_length=16),
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            pooled_projection_dim=16,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
    ).save_pretrained(folder)


def _qwen(kind: type) -> object:
    def build(folder: Path, turbo: bool) -> None:
        place = folder / "processor"
        tokenizer = _qwen_tokenizer()
        images = Qwen2VLImageProcessorPil(
            patch_size=14, merge_size=2, min_pixels=28 * 28, max_pixels=56 * 56
        )
        pipeline = kind(
            scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
            vae=AutoencoderKLQwenImage(
                base_dim=4,
                z_dim=4,
                dim_mult=[1, 1, 1, 1],
                num_res_blocks=1,
                latents_mean=[0.0] * 4,
                latents_std=[1.0] * 4,
            ),
            text_encoder=Qwen2_5_VLForConditionalGeneration(_qwen_config(tokenizer)),
            tokenizer=tokenizer,
            processor=None,
            transformer=QwenImageTransformer2DModel(
                in_channels=16,
                out_channels=4,
                num_layers=1,
                attention_head_dim=16,
                num_attention_heads=2,
                joint_attention_dim=16,
                axes_dims_rope=(4, 4, 8),
            ),
        )
        pipeline.save_pretrained(folder)
        # Saving a whole Qwen2VLProcessor needs its video processor, hence torchvision; on the hub
        # the folder holds the same two parts.
        tokenizer.save_pretrained(place)
        images.save_pretrained(place)
        index = json.loads((folder / "model_index.json").read_text())
        index["processor"] = ["transformers", "Qwen2VLProcessor"]
        (folder / "model_index.json").write_text(json.dumps(index))

    return build


def _qwen_tokenizer() -> Qwen2Tokenizer:
    from tokenizers.pre_tokenizers import ByteLevel

    special = (
        "<|endoftext|>",
        "<|im_start|>",
        "<|im_end|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|image_pad|>",
        "<|video_pad|>",
    )
    letters = sorted(ByteLevel.alphabet())
    table = {token: i for i, token in enumerate([*letters, special[0]])}
    tokenizer = Qwen2Tokenizer(table, [])
    tokenizer.add_special_tokens({"additional_special_tokens": list(special[1:])})
    return tokenizer


def _qwen_config(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLConfig:
    number = tokenizer.convert_tokens_to_ids
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + 8,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {
                "mrope_section": [1, 1, 2],
                "rope_type": "default",
                "type": "default",
                "rope_theta": 1e6,
            },
        },
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_heads": 2,
            "out_hidden_size": 16,
            "fullatt_block_indexes": [0],
            "window_size": 56,
        },
        image_token_id=number("<|image_pad|>"),
        video_token_id=number("<|video_pad|>"),
        vision_start_token_id=number("<|vision_start|>"),
        vision_end_token_id=number("<|vision_end|>"),
    )


BUILDERS = {
    "StableDiffusionInstructPix2PixPipeline": _instruct,
    "StableDiffusionPipeline": _stable_diffusion(StableDiffusionPipeline),
    "StableDiffusionImg2ImgPipeline": _stable_diffusion(StableDiffusionImg2ImgPipeline),
    "StableDiffusionXLPipeline": _stable_diffusion_xl(StableDiffusionXLPipeline),
    "StableDiffusionXLImg2ImgPipeline": _stable_diffusion_xl(StableDiffusionXLImg2ImgPipeline),
    "FluxKontextPipeline": _kontext,
    "QwenImageEditPipeline": _qwen(QwenImageEditPipeline),
    "QwenImageEditPlusPipeline": _qwen(QwenImageEditPlusPipeline),
}
