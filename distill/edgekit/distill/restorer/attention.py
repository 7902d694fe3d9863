"""Self-attention that also looks at references of the same person.

Shape key, used as name suffixes in this file:
    B pictures   N own tokens (row-major)   C channels   A heads   E channels of a head
    R references   M tokens of one reference   K all keys: N + R * M   S summary tokens

    own and reference logits share one softmax; a reference's logits get log(gate), or -inf

So a gate of 1 is plain shared attention, a gate of 0 the self-attention of the network without
references, and a reference that is missing changes no bit of the result.

Source: Zhang et al. 2025, "InstantRestore" (arXiv:2412.06753): shared attention in the decoder and
AdaIN on values. There the queries see references alone and missing ones keep softmax mass as zero
keys; here own tokens stay, so no row is ever empty. The gate follows the idea of Ada-RefSR (2026),
summary tokens of a reference whose correlation with a query says how far to trust it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SUMMARY_TOKENS = 16
OPEN = 2.0
"""Where a fresh gate starts, as a logit: it lets 88 % pass."""
OUT = 0.5
"""Deviation of a fresh output layer, as a share of what keeps the deviation of its input."""
PEAK = 6.0
"""How much higher a fresh layer scores a key at the query's own place than elsewhere, in nats."""
WAVES = 4
"""Waves that tell a layer where a token lies: 1, 2, 4 and 8 half periods over a side."""
LEAST_GATE = 1e-8
"""Keeps the logarithm finite; as a share of softmax mass it is nothing."""
NEVER = -1e4
"""Score of what is not there: its share of any softmax is 0 to the last bit."""
EPSILON = 1e-5

LayerMemory: TypeAlias = tuple[Tensor, Tensor]
"""Keys and values of one layer, both B x R x M x C."""


class Memory(NamedTuple):
    """What is kept of a person: keys and values of every layer, and which places hold something."""

    layers: tuple[LayerMemory, ...]
    mask: Tensor
    """B x R, bool or numbers: True or 1 where there is a reference."""


@dataclass(slots=True)
class Seen:
    """Collects what attention layers computed, in their order."""

    queries: list[Tensor] = field(default_factory=list)
    """B x N x C each."""
    own: list[LayerMemory] = field(default_factory=list)
    """Keys and values of the layer's own tokens, B x N x C each."""
    features: list[Tensor] = field(default_factory=list)
    """What they are made of, normed: B x C x H x W."""


def adain(values_BRMC: Tensor, own_BNC: Tensor) -> Tensor:
    """Give each reference's values the mean and deviation of the own ones, channel by channel.

    Statistics run over tokens: M of one reference, N of the picture.

    Source: Huang and Belongie 2017, "Arbitrary Style Transfer in Real-time" (AdaIN), equation 8.
    """
    theirs = values_BRMC - values_BRMC.mean(2, keepdim=True)
    theirs = theirs * torch.rsqrt((theirs * theirs).mean(2, keepdim=True) + EPSILON)
    mean = own_BNC.mean(1, keepdim=True)
    centred = own_BNC - mean
    deviation = ((centred * centred).mean(1, keepdim=True) + EPSILON).sqrt()
    return theirs * deviation[:, None] + mean[:, None]


class Gate(nn.Module):
    """How far each query may trust each reference, 0 to 1."""

    def __init__(self, channels: int) -> None:
        """Start open, see `OPEN`."""
        super().__init__()
        self.summary = nn.Parameter(torch.randn(SUMMARY_TOKENS, channels) * channels**-0.5)
        self.hidden = nn.Linear(2 * SUMMARY_TOKENS, SUMMARY_TOKENS)
        self.out = nn.Linear(SUMMARY_TOKENS, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.constant_(self.out.bias, OPEN)

    def forward(self, queries_BNC: Tensor, keys_BRMC: Tensor) -> Tensor:
        """Return B x N x R."""
        num, references, _, channels = keys_BRMC.shape
        # The constant on the right, where every int8 format wants its weights.
        scores_BRMS = keys_BRMC @ self.summary.T * channels**-0.5
        summary_BRSC = torch.softmax(scores_BRMS, 2).transpose(2, 3) @ keys_BRMC
        flat_BCK = summary_BRSC.reshape(num, references * SUMMARY_TOKENS, channels).transpose(1, 2)
        match_BNK = queries_BNC @ flat_BCK * channels**-0.5
        match_BNRS = match_BNK.reshape(num, -1, references, SUMMARY_TOKENS)
        whole_BNRS = match_BNRS.mean(1, keepdim=True).expand_as(match_BNRS)
        # Two axes for the layers: LiteRT has no product of a matrix with four.
        both = torch.cat((match_BNRS, whole_BNRS), -1).reshape(-1, 2 * SUMMARY_TOKENS)
        opened = torch.sigmoid(self.out(F.silu(self.hidden(both))))
        return opened.reshape(num, -1, references)


class SharedAttention(nn.Module):
    """Attention of a picture's tokens to themselves and to those of references."""

    def __init__(
        self,
        channels: int,
        head_dim: int,
        *,
        adain: bool = False,
        gate: bool = False,
        reads: bool = False,
    ) -> None:
        """`channels` must be a multiple of `head_dim`; one that `reads` has a layer for `read`."""
        super().__init__()
        if channels % head_dim:
            raise ValueError(f"{channels} channels do not divide into heads of {head_dim}")
        self.head_dim, self.adain = head_dim, adain
        self.norm = Norm(groups_of(channels), channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        # Faces are aligned, so what a query looks for lies near its own place in every reference.
        # Without a hint of that, references did nothing yet after 370 to 650 steps.
        self.place = nn.Conv2d(4 * WAVES, 2 * channels, 1, bias=False)
        look_near(self.place.weight, head_dim)
        self.out = nn.Conv2d(channels, channels, 1)
        # Not zero: a base hardly uses attention at first, and what is closed then stays closed for
        # references (weights of 0.005 and no effect after 225 steps of a base and 170 of training).
        nn.init.normal_(self.out.weight, std=OUT * channels**-0.5)
        nn.init.zeros_(present(self.out.bias))
        self.gate = Gate(channels) if gate else None
        self.reader = nn.Conv2d(channels, 2 * channels, 1) if reads else None

    def read(self, features_BCHW: Tensor) -> LayerMemory:
        """Return the keys and values that another network may look at, B x N x C each."""
        assert self.reader is not None
        both_BNC = self.reader(features_BCHW).flatten(2).transpose(1, 2)
        keys, values = both_BNC.chunk(2, dim=2)
        return keys + self.placed(features_BCHW)[1], values

    def placed(self, x_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return what queries and keys of such a picture get for where they lie, 1 x N x C each."""
        where = self.place(place_waves(x_BCHW.shape[-2], x_BCHW.shape[-1], x_BCHW))
        queries, keys = where.flatten(2).transpose(1, 2).chunk(2, dim=2)
        return queries, keys

    @torch.no_grad()
    def read_as_own(self) -> None:
        """Let the reader start with the layer's own keys and values."""
        assert self.reader is not None
        channels = self.qkv.in_channels
        self.reader.weight.copy_(self.qkv.weight[channels:])
        present(self.reader.bias).copy_(present(self.qkv.bias)[channels:])

    def forward(
        self,
        x_BCHW: Tensor,
        memory: LayerMemory | None = None,
        mask_BR: Tensor | None = None,
        seen: Seen | None = None,
    ) -> Tensor:
        """Return the input plus what attention adds."""
        num, channels, height, width = x_BCHW.shape
        normed = self.norm(x_BCHW)
        parts = self.qkv(normed).flatten(2).transpose(1, 2).chunk(3, dim=2)
        at_q, at_k = self.placed(x_BCHW)
        q_BNC, k_BNC, v_BNC = parts[0] + at_q, parts[1] + at_k, parts[2]
        if seen is not None:
            seen.queries.append(q_BNC)
            seen.own.append((k_BNC, v_BNC))
            seen.features.append(normed)
        if memory is None or mask_BR is None:
            y_BNC = mixed(q_BNC, k_BNC, v_BNC, self.head_dim)
        else:
            keys_BRMC, values_BRMC = memory
            if self.adain:
                values_BRMC = adain(values_BRMC, v_BNC)
            gate_BNR = None if self.gate is None else self.gate(q_BNC, keys_BRMC)
            y_BNC = shared(
                q_BNC,
                (k_BNC, v_BNC),
                (keys_BRMC, values_BRMC),
                mask_BR,
                gate_BNR,
                self.head_dim,
            )
        added: Tensor = self.out(y_BNC.transpose(1, 2).reshape(num, channels, height, width))
        return x_BCHW + added


def shared(
    q_BNC: Tensor,
    own: LayerMemory,
    memory: LayerMemory,
    mask_BR: Tensor,
    gate_BNR: Tensor | None,
    head_dim: int,
) -> Tensor:
    """Return attention over own and reference tokens with one softmax, B x N x C."""
    keys_BRMC, values_BRMC = memory
    num, references, tokens, channels = keys_BRMC.shape
    keys = torch.cat((own[0], keys_BRMC.reshape(num, references * tokens, channels)), 1)
    values = torch.cat((own[1], values_BRMC.reshape(num, references * tokens, channels)), 1)
    there_BR = mask_BR.to(keys.dtype)
    logs_BNR = None if gate_BNR is None else torch.log(gate_BNR.float() + LEAST_GATE).to(keys.dtype)
    return mixed(q_BNC, keys, values, head_dim, there_BR, logs_BNR)


def mixed(
    q_BNC: Tensor,
    k_BKC: Tensor,
    v_BKC: Tensor,
    head_dim: int,
    there_BR: Tensor | None = None,
    logs_BNR: Tensor | None = None,
) -> Tensor:
    """Return softmax(q k / sqrt(E) + logs) v by heads; keys of references not there weigh nothing.

    The first N keys are the queries' own, the others belong to R references of equal size.
    `there_BR` is 1 where there is one, `logs_BNR` is added to its scores. PyTorch's fused attention
    computes it; what is exported has the products written out, which every converter understands.
    Both are the same function.
    """
    heads = q_BNC.shape[2] // head_dim
    q, k, v = (_by_head(x, heads) for x in (q_BNC, k_BKC, v_BKC))
    run = written_out if torch.compiler.is_exporting() else fused
    y_BANE = run(q, k, v, there_BR, logs_BNR)
    return y_BANE.transpose(1, 2).reshape(q_BNC.shape)


def written_out(
    q_BANE: Tensor,
    k_BAKE: Tensor,
    v_BAKE: Tensor,
    there_BR: Tensor | None,
    logs_BNR: Tensor | None,
) -> Tensor:
    """Return the attention as two products and a softmax.

    The scores are by far the largest tensors: they are scaled as queries, and gate and mask are
    one tensor before they are added to them, which took 0.64 of the time of adding them in turn.
    """
    scores = (q_BANE * q_BANE.shape[-1] ** -0.5) @ k_BAKE.transpose(2, 3)
    if there_BR is None:
        return torch.softmax(scores, -1) @ v_BAKE
    num, own = q_BANE.shape[0], q_BANE.shape[2]
    tokens = (k_BAKE.shape[2] - own) // there_BR.shape[1]
    kind = {"dtype": scores.dtype, "device": scores.device}
    zero, never = torch.zeros(1, 1, **kind), torch.full((1, 1), float("-inf"), **kind)
    bias_BNR = torch.where(there_BR > 0.5, zero, never)[:, None]
    if logs_BNR is not None:
        bias_BNR = logs_BNR + bias_BNR
    rows = bias_BNR.shape[1]
    bias_BNK = bias_BNR[..., None].expand(-1, -1, -1, tokens).reshape(num, rows, -1)
    return torch.softmax(scores + F.pad(bias_BNK, (own, 0))[:, None], -1) @ v_BAKE


def fused(
    q_BANE: Tensor,
    k_BAKE: Tensor,
    v_BAKE: Tensor,
    there_BR: Tensor | None,
    logs_BNR: Tensor | None,
) -> Tensor:
    """Return the same by PyTorch's fused kernels, which never write the scores.

    Gate and mask are channels of queries, and of keys the reference that they belong to: as a mask
    they would keep the fastest kernel out, and one with a gradient would be B x A x N x K.
    """
    scale, width = q_BANE.shape[-1] ** -0.5, v_BAKE.shape[-1]
    if there_BR is not None:
        references, own = there_BR.shape[1], q_BANE.shape[2]
        tokens = (k_BAKE.shape[2] - own) // references
        bias_BNR = ((there_BR <= 0.5).to(q_BANE.dtype) * NEVER)[:, None]
        bias_BNR = bias_BNR + logs_BNR if logs_BNR is not None else bias_BNR.expand(-1, own, -1)
        fill = -references % 8
        more = F.pad(bias_BNR / scale, (0, fill))[:, None].expand(-1, q_BANE.shape[1], -1, -1)
        one = torch.eye(references, device=q_BANE.device, dtype=k_BAKE.dtype)
        owner = one[:, None].expand(-1, tokens, -1).reshape(references * tokens, references)
        owner = F.pad(owner, (0, fill, own, 0))
        owner = owner[None, None].expand(*k_BAKE.shape[:2], -1, -1)
        q_BANE = torch.cat((q_BANE, more.to(q_BANE.dtype)), -1)
        k_BAKE = torch.cat((k_BAKE, owner), -1)
        v_BAKE = F.pad(v_BAKE, (0, references + fill))  # kernels want one width for all three
    mixed_BANE: Tensor = F.scaled_dot_product_attention(q_BANE, k_BAKE, v_BAKE, scale=scale)
    return mixed_BANE[..., :width]


def _by_head(x_BNC: Tensor, heads: int) -> Tensor:
    num, tokens, channels = x_BNC.shape
    return x_BNC.reshape(num, tokens, heads, channels // heads).transpose(1, 2)


def place_waves(rows: int, columns: int, like: Tensor) -> Tensor:
    """Return sines and cosines of where each token lies, 1 x (4 * WAVES) x rows x columns."""
    kind: dict[str, Any] = {"device": like.device, "dtype": torch.float32}
    # Made by doubling: a list in brackets would be a copy from the host, which no graph records.
    turns = 2.0 ** torch.arange(WAVES, **kind)
    down = (torch.arange(rows, **kind) + 0.5) * (math.pi / rows)
    across = (torch.arange(columns, **kind) + 0.5) * (math.pi / columns)
    angles_TY, angles_TX = turns[:, None] * down, turns[:, None] * across
    y = torch.cat((angles_TY.sin(), angles_TY.cos()))[:, :, None].expand(-1, rows, columns)
    x = torch.cat((angles_TX.sin(), angles_TX.cos()))[:, None, :].expand(-1, rows, columns)
    return torch.cat((y, x))[None].to(like.dtype)


@torch.no_grad()
def look_near(weight: Tensor, head_dim: int) -> None:
    """Let queries and keys of `place` start alike: the nearer two tokens, the higher the score."""
    both, waves, _, _ = weight.shape
    size = (PEAK * head_dim**0.5 / (waves / 2)) ** 0.5 * max(1.0, waves / head_dim) ** 0.5
    for first in range(0, both // 2, head_dim):
        block = nn.init.orthogonal_(torch.empty(head_dim, waves)) * size
        for part in (first, both // 2 + first):
            weight[part : part + head_dim, :, 0, 0] = block


class Norm(nn.GroupNorm):
    """A group norm whose result has the precision of its input; sums are taken in float32.

    Autocast would make it, and all that follows up to the next product, float32: twice the bytes,
    and bytes are what such layers cost on a GPU.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (B x C x ...) normed."""
        if x.dtype == self.weight.dtype:
            return super().forward(x)
        weight, bias = self.weight.to(x.dtype), present(self.bias).to(x.dtype)
        with torch.autocast(x.device.type, enabled=False):
            return F.group_norm(x, self.num_groups, weight, bias, self.eps)


def groups_of(channels: int) -> int:
    """Return the number of groups of a group norm: as near to 16 as divides the channels."""
    return next(groups for groups in range(min(16, channels), 0, -1) if channels % groups == 0)


def present(bias: Tensor | None) -> Tensor:
    """Return a bias that the layer was built with."""
    assert bias is not None
    return bias
