"""The only thing that the generator learns from: a picture model that knows texts and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from edgekit.distill.render.views import Cameras


@runtime_checkable
class Guide(Protocol):
    """A diffusion model of pictures. It predicts noise; no shape, depth or mesh ever comes from it.

    Shape key: B pictures   S side of a picture   T steps   L tokens   C channels of a token
    """

    @property
    def size_px(self) -> int:
        """Side of its pictures."""
        ...

    @property
    def alphas(self) -> Tensor:
        """T cumulative shares of the picture's variance, from almost 1 down to almost 0."""
        ...

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return n x L x C, one row a prompt; the empty prompt stands for any picture."""
        ...

    def latents(self, pictures: Tensor) -> Tensor:
        """Return what noise is added to: the pictures (B x 3 x S x S in [-1, 1]) themselves, or an
        autoencoder's latents of them; differentiable.
        """
        ...

    def noise(self, noisy: Tensor, step: Tensor, text: Tensor, cameras: Cameras) -> Tensor:
        """Return the noise seen in `noisy` (as `latents` shapes it) at `step` (B, int64).

        `text` is B x L x C, of `encode`; `cameras` are those of the B pictures. No gradient.
        """
        ...
