"""The identity encoder: photos of a person, in any number and order, to one code of fixed size.

After Omni-ID (arXiv:2412.09694): patch tokens of all photos are keys and values of learned queries,
then the queries attend to each other. The queries are constants, so that the softmax over the
tokens of all photos is a quotient of two sums over photos:

    code = refined(sum_i numerator(photo_i) / (sum_i denominator(photo_i) + sink))

A phone keeps the two sums (the state) and adds one photo a call; nothing depends on the order, a
missing photo adds zero, and a photo that is to be forgotten can be subtracted. docs/adr/0007 says
what that costs.

Shape key, used as name suffixes in this file:
    B people   N photos of each   P photos of all (B x N)   T tokens of a photo   W width
    Q queries   H heads   E channels of a head   S channels of the state (W + H)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from edgekit.distill.identity.layers import Block, FeedForward, joined_heads, split_heads
from edgekit.distill.identity.shape import IdentityShape

SHARPEST = 10.0
"""Bound of an attention logit. Bounded logits need no running maximum, which is what lets the state
be a plain sum, and keep it within float16."""
SINK = 0.01
"""Weight of a token without content that every query also sees: a query that found nothing says so,
and the quotient is bounded for every state that a device may hold."""
LEAST = 1e-6


class IdentityEncoder(nn.Module):
    """Photos of people in [-1, 1] to codes; `fresh_encoder` makes one."""

    center: Tensor

    def __init__(self, shape: IdentityShape) -> None:
        """Make the layers of `shape`, with the random weights of torch's global generator."""
        super().__init__()
        self.shape = shape
        width, halvings = shape.width, round(math.log2(shape.patch_px))
        stem: list[nn.Module] = []
        channels = 3
        for i in range(halvings):
            wider = width >> (halvings - 1 - i)
            stem += [nn.Conv2d(channels, wider, 3, 2, 1)]
            stem += [nn.ReLU()] if i < halvings - 1 else []
            channels = wider
        self.stem = nn.Sequential(*stem)
        self.places = nn.Parameter(torch.randn(1, shape.tokens, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, shape.heads, shape.expand) for _ in range(shape.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.key_value = nn.Linear(width, 2 * width)
        self.queries = nn.Parameter(torch.randn(1, shape.queries, width))
        self.sharpness = nn.Parameter(torch.full((shape.heads, 1, 1), math.log(4.0)))
        self.start = nn.Parameter(torch.randn(1, shape.queries, width) * 0.02)
        self.out = nn.Linear(width, width)
        self.norm_out, self.feed = nn.LayerNorm(width), FeedForward(width, shape.expand)
        self.refine = nn.ModuleList(
            Block(width, shape.heads, shape.expand) for _ in range(shape.refine)
        )
        self.last = nn.LayerNorm(width)
        self.register_buffer("center", torch.zeros(1, shape.queries, width))

    def forward(self, images_BN: Tensor, mask_BN: Tensor) -> Tensor:
        """Return the codes B x Q x W of people with photos B x N x 3 x size x size.

        Photos whose `mask_BN` (bool) is False change nothing, not even the last bit, whatever they
        hold. A person without any photo gets the same code as any other without.
        """
        there = mask_BN[:, :, None, None]
        images_BN = torch.where(there[..., None], images_BN, torch.zeros_like(images_BN))
        states_P = self.state(images_BN.flatten(0, 1))
        states_BN = states_P.reshape(*mask_BN.shape, *self.shape.state)
        states_BN = torch.where(there, states_BN, torch.zeros_like(states_BN))
        total_BQS = states_BN[:, 0]
        for photo in range(1, states_BN.shape[1]):  # in order: adding zeros keeps every bit
            total_BQS = total_BQS + states_BN[:, photo]
        return self.code(total_BQS)

    def state(self, images_P: Tensor) -> Tensor:
        """Return what each photo adds to the state of its person, P x Q x S."""
        key_PTW, value_PTW = self.key_value(self.tokens(images_P)).chunk(2, -1)
        weights_PHQT = self._weights(key_PTW)
        share = 1 / self.shape.tokens
        value_PHTE = split_heads(value_PTW, self.shape.heads).to(weights_PHQT.dtype)
        numerator_PQW = joined_heads(weights_PHQT @ (value_PHTE * share))
        denominator_PQH = weights_PHQT.mean(-1).transpose(1, 2)
        return torch.cat((numerator_PQW, denominator_PQH), -1)

    def code(self, state_BQS: Tensor) -> Tensor:
        """Return the codes B x Q x W of summed states."""
        count, width, heads = len(state_BQS), self.shape.width, self.shape.heads
        numerator_BQHE = state_BQS[..., :width].reshape(count, -1, heads, width // heads)
        denominator_BQH1 = torch.relu(state_BQS[..., width:]).unsqueeze(-1)
        seen_BQW = (numerator_BQHE / (denominator_BQH1 + SINK)).reshape(count, -1, width)
        x_BQW = self.start + self.out(seen_BQW)
        x_BQW = x_BQW + self.feed(self.norm_out(x_BQW))
        for block in self.refine:
            x_BQW = block(x_BQW)
        code_BQW: Tensor = self.last(x_BQW).float() - self.center
        return code_BQW

    def tokens(self, images_P: Tensor) -> Tensor:
        """Return the tokens of photos, P x T x W; row after row of patches."""
        x_PTW = self.stem(images_P).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            x_PTW = block(x_PTW)
        normed: Tensor = self.norm(x_PTW)
        return normed

    @torch.no_grad()
    def attention(self, images_P: Tensor) -> Tensor:
        """Return where each query looks, P x Q x T: shares that add up to 1, mean over heads."""
        key_PTW = self.key_value(self.tokens(images_P)).chunk(2, -1)[0]
        weights_PHQT = self._weights(key_PTW)
        return (weights_PHQT / weights_PHQT.sum(-1, keepdim=True)).mean(1)

    def _weights(self, key_PTW: Tensor) -> Tensor:
        """Return the softmax's numerators, P x H x Q x T, the same for a photo in any company."""
        heads = self.shape.heads
        query_1HQE = _unit(split_heads(self.queries, heads))
        key_PHTE = _unit(split_heads(key_PTW, heads))
        scale_H11 = self.sharpness.exp().clamp(max=SHARPEST)
        # The constant goes on the right: LiteRT's int8 kernels take weights there alone.
        alike_PHTQ = key_PHTE @ query_1HQE.transpose(2, 3)
        return torch.exp((alike_PHTQ.float() - 0.5) * scale_H11).transpose(2, 3)


class OnePhoto(nn.Module):
    """The encoder as it ships: one photo and the state so far in, the new state and the code out.

    The first photo goes in with a state of zeros; the code of the last call counts.
    """

    def __init__(self, encoder: IdentityEncoder) -> None:
        """Wrap `encoder`."""
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor, sums: Tensor) -> tuple[Tensor, Tensor]:
        """Add `image` (1, 3, size, size) to the state `sums` (1, Q, S)."""
        total = sums + self.encoder.state(image)
        return total, self.encoder.code(total)


def fresh_encoder(shape: IdentityShape, *, seed: int) -> IdentityEncoder:
    """Return an untrained encoder whose weights follow from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return IdentityEncoder(shape)


def _unit(x: Tensor) -> Tensor:
    x = x.float()
    return x * torch.rsqrt(x.square().sum(-1, keepdim=True) + LEAST)
