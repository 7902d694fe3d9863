"""A concept's words as a text context: what the bundled teacher's text encoder makes of them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from edgekit.core.assets import asset_folder
from edgekit.core.errors import BadInput
from edgekit.distill.teachers.folders import quiet

TOKENS = 16
"""Tokens kept of a prompt; the shipped student holds their keys and values as constants."""


def text_context(prompt: str, teacher: Path | None = None) -> Tensor:
    """Return the context of `prompt`, float (TOKENS, width of the encoder).

    `teacher` is the folder of the pipeline whose ``tokenizer`` and ``text_encoder`` are used, the
    bundled one by default. A user's own teacher plays no part: the base knows only this encoder.
    Raises BadInput if the folder lacks them.
    """
    return _context(prompt, teacher or asset_folder("teacher")).clone()


@lru_cache(maxsize=64)
def _context(prompt: str, folder: Path) -> Tensor:
    tokenizer, encoder = _encoder(folder)
    ids = tokenizer(
        prompt,
        padding="max_length",
        max_length=max(TOKENS, tokenizer.model_max_length),
        truncation=True,
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        states: Tensor = encoder(ids).last_hidden_state
    return states[0, :TOKENS].float()


@lru_cache(maxsize=2)
def _encoder(folder: Path):  # type: ignore[no-untyped-def]  # transformers is not typed here
    from transformers import CLIPTextModel, CLIPTokenizer

    if not (folder / "text_encoder").is_dir() or not (folder / "tokenizer").is_dir():
        raise BadInput(
            f"{folder} has no tokenizer and text_encoder",
            hint="install edgekit-toolchain again from its wheel or source tree",
        )
    with quiet():
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder", local_files_only=True, torch_dtype=torch.float32
        )
    return tokenizer, encoder.eval().requires_grad_(False)
