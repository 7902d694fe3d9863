"""The dials of the identity encoder: what decides its size, its cost and the shape of a code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityShape:
    """What decides an encoder; a code is `queries` x `width` whatever the number of photos."""

    size_px: int = 128
    """Side of an aligned face."""
    patch_px: int = 16
    """Side of the square that becomes one token, a power of two."""
    queries: int = 32
    """Tokens of a code."""
    width: int = 256
    """Channels of a token, in the encoder and in the code."""
    heads: int = 8
    layers: int = 4
    """Transformer blocks over the tokens of one photo."""
    refine: int = 2
    """Transformer blocks over the tokens of the code."""
    expand: int = 2
    """Hidden channels of a feed-forward part, in multiples of `width`."""

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be cut into patches, and widths into heads."""
        if self.patch_px < 2 or self.patch_px & (self.patch_px - 1):
            raise ValueError(f"patch_px must be a power of two from 2 on, got {self.patch_px}")
        if self.size_px < self.patch_px or self.size_px % self.patch_px:
            raise ValueError(f"{self.size_px} pixels cannot be cut into patches of {self.patch_px}")
        if self.width % self.heads or self.width % self.patch_px or self.width < 2 * self.heads:
            raise ValueError(
                f"width must be a multiple of {self.heads} heads and of {self.patch_px} and at "
                f"least twice the heads, got {self.width}"
            )
        if min(self.queries, self.layers) < 1 or self.refine < 0 or self.expand < 1:
            raise ValueError(f"numbers of queries, layers and blocks must be positive: {self}")

    @property
    def code(self) -> tuple[int, int]:
        """Tokens and channels of a code."""
        return self.queries, self.width

    @property
    def state(self) -> tuple[int, int]:
        """Tokens and channels of the sum that photos are added to; see `encoder`."""
        return self.queries, self.width + self.heads

    @property
    def tokens(self) -> int:
        """Tokens of one photo."""
        return (self.size_px // self.patch_px) ** 2


TOY = IdentityShape(size_px=32, patch_px=8, queries=4, width=32, heads=4, layers=1, refine=1)
"""For tests and for a look at whether everything runs."""
