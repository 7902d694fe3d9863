"""The dials of our generator: what decides its size, its cost and the names of its weights."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides a generator; `width` alone gives a balanced one, the rest departs from that.

    The names of the weights follow from the shape, and those of the shipped base are the defaults'.
    """

    width: int = 64
    """Channels at a quarter of the resolution; a quarter of it at full, three times at 1/8."""
    context_dim: int = 128
    """Width of a text token."""
    heads: int = 4
    full: int | None = None
    """Channels at full resolution, instead of a quarter of `width`."""
    half: int | None = None
    """Channels at half the resolution, instead of half of `width`."""
    eighth: int | None = None
    """Channels at an eighth of the resolution, transformer included, instead of 3 x `width`."""
    encoder_blocks: int = 2
    """Residual blocks before the transformer."""
    decoder_blocks: int = 1
    """Residual blocks after it."""
    transformer: bool = True
    """False leaves it out: the network then sees 1/8 resolution by two convolutions only."""
    detail2: bool = True
    """One more convolution at half the resolution on the way up."""
    detail3: bool = True
    """One more at full resolution."""

    def __post_init__(self) -> None:
        """Refuse widths that cannot be divided into the levels and heads."""
        if self.width < 8 or self.width % 4 or self.levels[3] % self.heads:
            raise ValueError(
                f"width must be a multiple of 4 from 8 on, and the eighth's of {self.heads} heads, "
                f"got {self.width} and {self.levels[3]}"
            )
        if min(self.levels) < 1 or min(self.encoder_blocks, self.decoder_blocks) < 0:
            raise ValueError(f"widths must be positive and numbers of blocks not negative: {self}")

    @property
    def levels(self) -> tuple[int, int, int, int]:
        """Channels at full, 1/2, 1/4 and 1/8 of the resolution."""
        return (
            self.width // 4 if self.full is None else self.full,
            self.width // 2 if self.half is None else self.half,
            self.width,
            3 * self.width if self.eighth is None else self.eighth,
        )

    @property
    def encoder_names(self) -> tuple[str, ...]:
        """Names of the residual blocks before the transformer."""
        return tuple(f"residual{i + 1}" for i in range(self.encoder_blocks))

    @property
    def decoder_names(self) -> tuple[str, ...]:
        """Names of the residual blocks after it, counted on."""
        first = self.encoder_blocks + 1
        return tuple(f"residual{first + i}" for i in range(self.decoder_blocks))


def shape_facts(shape: Shape) -> dict[str, int]:
    """Return `shape` as it stands in cards and manifests: the first three, and what departs."""
    usual = {field.name: field.default for field in fields(Shape)}
    return {
        name: value
        for name, value in asdict(shape).items()
        if name in ("width", "context_dim", "heads") or value != usual[name]
    }
