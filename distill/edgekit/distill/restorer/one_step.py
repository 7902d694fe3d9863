"""The one-step restorer: a diffusion U-Net at one noise level, and a copy that reads references.

Nothing is drawn at inference: the degraded picture enters at its place in the noise schedule with
the noise at its mean, so the same photos give the same bits, and golden vectors make sense.

Source: Zhang et al. 2025, "InstantRestore" (arXiv:2412.06753). The released code samples latents
and noise on every call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from edgekit.core.errors import unknown_name
from edgekit.distill.restorer.attention import Memory, Seen, SharedAttention
from edgekit.distill.restorer.diffusion import ONE_STEP_LEVEL, REFERENCE_LEVEL, noised, picture_of
from edgekit.distill.restorer.recipe import Conditioning as Conditioning
from edgekit.distill.restorer.unet import ATTENTIONS, UNet, UNetShape, fresh_unet, take_weights

CODE_TOKENS, CODE_WIDTH = 32, 256


class Given(NamedTuple):
    """What a restorer knows of the person."""

    memory: Memory | None = None
    extra: Tensor | None = None
    """More input channels, B x n x S x S."""
    code: Tensor | None = None
    """Identity codes, B x 32 x 256; zeros stand for nobody."""


@runtime_checkable
class Restorer(Protocol):
    """A one-step network: ours, or one built from a pipeline of diffusers."""

    conditioning: Conditioning

    def given(self, references: Tensor, mask: Tensor, code: Tensor | None = None) -> Given:
        """Return what references (B x R x 3 x S x S) tell; those without mask tell nothing."""
        ...

    def restored(self, degraded: Tensor, given: Given, seen: Seen | None = None) -> Tensor:
        """Return restored pictures, not clamped: training terms need their gradients."""
        ...

    @property
    def head_dims(self) -> tuple[int, ...]:
        """Channels of one head of each shared attention, in the order of the memory."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What kind of one-step restorer: each field is an arm of the experiment."""

    conditioning: Conditioning = "memory"
    adain: bool = True
    gate: bool = True
    reader: bool = True
    """Keys and values of references come from layers of their own on the branch's features."""
    tuned: bool = True
    """The whole branch is trained: features of a small denoiser hold little of a clean picture."""
    places: int = 4
    """References that `channels` and an exported file have room for."""

    def __post_init__(self) -> None:
        """Refuse a conditioning that does not exist."""
        if self.conditioning not in get_args(Conditioning):
            raise unknown_name("conditioning", self.conditioning, get_args(Conditioning))

    def shape(self, base: UNetShape) -> UNetShape:
        """Return the network's shape for this form of a base."""
        attends = self.conditioning in ("memory", "code")
        return replace(
            base,
            extra=3 * self.places if self.conditioning == "channels" else 0,
            # A code's 32 tokens are no picture whose statistics could be those of the portrait.
            adain=self.adain and self.conditioning == "memory",
            gate=self.gate and attends,
            code=CODE_WIDTH if self.conditioning == "code" else 0,
        )


class OneStep(nn.Module):
    """Our U-Net as a one-step restorer."""

    def __init__(self, network: UNet, branch: UNet | None, form: Form) -> None:
        """`branch` reads references, trained as far as `form` says; memories need it."""
        super().__init__()
        self.form = form
        self.conditioning: Conditioning = form.conditioning
        self.network = network
        self.branch = None if branch is None else branch.eval().requires_grad_(form.tuned)
        for attention in readers(self.branch):
            assert attention.reader is not None
            attention.reader.requires_grad_(True)

    @property
    def head_dims(self) -> tuple[int, ...]:
        """Channels of one head of each shared attention."""
        return (self.network.shape.head_dim,) * ATTENTIONS

    def enrolled(self, photos: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
        """Return the keys and values of each photo (B x 3 x S x S): B x M x C for each layer."""
        assert self.branch is not None
        return enrolled(self.branch, photos)

    def given(self, references: Tensor, mask: Tensor, code: Tensor | None = None) -> Given:
        """Return what references (B x R x 3 x S x S) tell; those without mask tell nothing."""
        if self.conditioning == "memory":
            shape = references.shape[:2]
            layers = self.enrolled(references.flatten(0, 1))
            seen = tuple(
                (k.reshape(*shape, *k.shape[1:]), v.reshape(*shape, *v.shape[1:]))
                for k, v in layers
            )
            return Given(Memory(seen, mask))
        if self.conditioning == "channels":
            wanted = self.form.places
            kept = references[:, :wanted] * mask[:, :wanted, None, None, None]
            flat = kept.flatten(1, 2)
            empty = flat.new_zeros(len(flat), 3 * wanted - flat.shape[1], *flat.shape[2:])
            return Given(extra=torch.cat((flat, empty), 1))
        if self.conditioning == "code":
            if code is None:
                raise ValueError("a restorer that takes a code needs one")
            layers, _ = self.network.memory_of_code(code)
            return Given(Memory(layers, mask.any(1, keepdim=True)))
        return Given()

    def restored(self, degraded: Tensor, given: Given, seen: Seen | None = None) -> Tensor:
        """Return restored pictures, not clamped."""
        level = torch.full((len(degraded),), ONE_STEP_LEVEL, device=degraded.device)
        noisy = noised(degraded, torch.zeros_like(degraded), level)
        velocity = self.network(noisy, level, given.memory, given.extra, seen)
        return picture_of(noisy, velocity.float(), level)

    def forward(self, degraded: Tensor, given: Given) -> Tensor:
        """Return restored pictures in [-1, 1]."""
        return self.restored(degraded, given).clamp(-1, 1)


def enrolled(branch: UNet, photos: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """Return what the decoder's attentions of `branch` hold of each nearly clean photo."""
    seen = Seen()
    level = torch.full((len(photos),), REFERENCE_LEVEL, device=photos.device)
    tuned = torch.is_grad_enabled() and branch.stem.weight.requires_grad
    with torch.set_grad_enabled(tuned):
        branch.attended(photos, branch.time(level), seen=seen)
    if not branch.shape.reads:
        return tuple(seen.own)
    layers = zip(readers(branch), seen.features, strict=True)
    return tuple(attention.read(features) for attention, features in layers)


def readers(branch: UNet | None) -> list[SharedAttention]:
    """Return the attentions of a branch that have a reader."""
    found = [] if branch is None else list(branch.attention)
    return [one for one in found if isinstance(one, SharedAttention) and one.reader is not None]


def branch_of(base: UNetShape, weights: Mapping[str, Tensor], form: Form, *, seed: int) -> UNet:
    """Return the network that reads references for `form`: a base, with readers if it has them."""
    branch = fresh_unet(replace(base, reads=form.reader), seed=seed)
    take_weights(branch, weights)
    for attention in readers(branch):
        attention.read_as_own()
    return branch


def one_step(base: UNetShape, weights: Mapping[str, Tensor], form: Form, *, seed: int) -> OneStep:
    """Return an untrained one-step restorer that starts from a base's weights."""
    network = fresh_unet(form.shape(base), seed=seed)
    take_weights(network, weights)
    branch = None
    if form.conditioning == "memory":
        branch = branch_of(base, weights, form, seed=seed)
    return OneStep(network, branch, form)


def memory_bytes(shape: UNetShape, size_px: int, *, bytes_each: int = 2) -> int:
    """Return the bytes of one reference's keys and values, float16 by default.

    >>> memory_bytes(UNetShape(), 128)
    2125824
    """
    cells = zip(shape.grids(size_px), shape.channels, strict=True)
    return sum(2 * grid * grid * width for grid, width in cells) * bytes_each
