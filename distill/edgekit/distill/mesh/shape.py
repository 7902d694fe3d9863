"""The dials of the mesh generator: what decides its size, its cost and the shape of its ports."""

from __future__ import annotations

from dataclasses import dataclass

COORDINATES = 4
"""Channels of the planes that are constants: they sum to |p|^2, x, y and z of a point p."""
OUTPUTS = 7
"""Channels of the field: signed distance, three of deformation, three of colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeshShape:
    """What decides a generator, whatever its words are."""

    length: int = 16
    """Words of a prompt that are read."""
    word_width: int = 64
    width: int = 192
    heads: int = 6
    layers: int = 5
    """Transformer blocks over the tokens of all planes."""
    expand: int = 2
    """Hidden channels of a feed-forward part, in multiples of `width`."""
    tokens: int = 8
    """Side of a plane inside the transformer."""
    plane_px: int = 32
    """Side of a plane that comes out: `tokens` times a power of two."""
    channels: int = 32
    """Channels of a plane, `COORDINATES` among them."""
    hidden: int = 64
    """Channels inside the field."""
    hidden_layers: int = 2
    cells: int = 48
    """Cells a side of the lattice on which the surface is looked for."""
    deform: float = 0.6
    """Farthest that a corner of the lattice moves along each axis, in units of half a cell."""
    radius: float = 0.5
    """Radius of the sphere that every prompt is before training."""
    points: int = 4096
    """Points that the shipped field takes in one call."""

    def __post_init__(self) -> None:
        """Refuse what cannot be built."""
        times = self.plane_px // max(1, self.tokens)
        if self.tokens < 1 or times * self.tokens != self.plane_px or times & (times - 1):
            raise ValueError(f"{self.plane_px} is not {self.tokens} times a power of two")
        if self.width % self.heads or self.width % 4:
            raise ValueError(f"width {self.width} is no multiple of 4 and of {self.heads} heads")
        if self.channels <= COORDINATES:
            raise ValueError(f"{self.channels} channels; {COORDINATES} of them are constants")
        if min(self.length, self.word_width, self.layers, self.hidden, self.hidden_layers) < 1:
            raise ValueError(f"numbers of words, layers and channels must be positive: {self}")
        if self.cells < 4 or not 0 <= self.deform < 1 or not 0.1 <= self.radius <= 0.9:
            raise ValueError(f"no lattice of {self.cells} cells, {self.deform}, {self.radius}")


TOY = MeshShape(
    length=8,
    word_width=16,
    width=32,
    heads=4,
    layers=1,
    tokens=4,
    plane_px=16,
    channels=12,
    hidden=16,
    cells=12,
    points=1024,
)
"""For tests and for a look at whether everything runs."""
