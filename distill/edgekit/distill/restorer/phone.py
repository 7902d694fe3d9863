"""The restorer for phones: the concept GAN's generator with an identity code in the text's place.

It is the same network of plain convolutions that ships for concepts (`students.gan`), so every
dial, rewrite and latency prediction of it holds; the code's tokens act by cross-attention and,
pooled, on the norms. It learns from the one-step network and from the true pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgekit.distill.restorer.attention import Seen
from edgekit.distill.restorer.one_step import CODE_WIDTH, Conditioning, Given
from edgekit.distill.students.gan import Generator, Shape, Student, fresh_generator, specialized

CONTEXT = 128
"""Width of a token inside the generator: the gains and biases that the code sets cost in weights
what it is wide, and no format stores them in 8 bits."""
PHONE = Shape(
    width=96,
    context_dim=CONTEXT,
    full=24,
    half=48,
    eighth=256,
    encoder_blocks=2,
    decoder_blocks=2,
)
"""At most 3 M weights."""
TOY_PHONE = Shape(width=16, context_dim=8, encoder_blocks=1)


class PhoneRestorer(nn.Module):
    """A generator that a person's code conditions; zeros stand for nobody."""

    conditioning: Conditioning = "code"

    def __init__(self, generator: Generator) -> None:
        """`generator` takes the code's tokens, made narrower, as its text."""
        super().__init__()
        self.generator = generator
        self.entry = nn.Linear(CODE_WIDTH, generator.shape.context_dim, bias=False)

    @property
    def head_dims(self) -> tuple[int, ...]:
        """It shares no attention with references."""
        return ()

    def given(self, references: Tensor, mask: Tensor, code: Tensor | None = None) -> Given:
        """Return the code, zeros for whom no reference is there."""
        if code is None:
            raise ValueError("a restorer that takes a code needs one")
        return Given(code=torch.where(mask.any(1)[:, None, None], code, torch.zeros_like(code)))

    def restored(self, degraded: Tensor, given: Given, seen: Seen | None = None) -> Tensor:
        """Return restored pictures, not clamped."""
        assert given.code is not None
        return self.generator.painted(degraded, self.entry(given.code))

    def forward(self, image: Tensor, code: Tensor) -> Tensor:
        """Return the restored picture in [-1, 1] of a degraded one and a code."""
        return self.generator.painted(image, self.entry(code)).clamp(-1, 1)


def fresh_phone(shape: Shape, *, seed: int) -> PhoneRestorer:
    """Return a phone-size restorer with random weights that depend on `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return PhoneRestorer(fresh_generator(shape, seed=seed))


def alone(phone: PhoneRestorer, *, size_px: int) -> Student:
    """Return the network as it answers for nobody, without the port for a code.

    What the code's zeros do to norms and attention is folded into its weights, exactly.
    """
    nobody = torch.zeros(1, phone.generator.shape.context_dim)
    return specialized(phone.generator, nobody, size_px=size_px)
