"""The base with everything that a concept changes as a second input: one file, many concepts.

Shape key, used as name suffixes in this file:
    N images (always 1)   O outputs   I inputs   R rank   P pixels   H, W height and width
    C channels   T text tokens

    y = gain * (conv(x) + B @ A(x)) + bias

`conv` is the base's convolution with its batch norm folded in, A and B are a concept's factors,
gain and bias what its words make of a modulated norm. A 3x3 layer's A(x) is written as one matrix
product with nine times the rows whose results are shifted and added, because a convolution whose
weights are computed is refused by Core ML and is slow in LiteRT (docs/adr/0006). Where the rank
reaches the number of outputs nothing is saved by two factors: there they are added to the layer.

Source: Gong et al. 2024, "E2GAN" (arXiv:2401.06127), section 3.2: one base, one set of low-rank
factors a concept.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgekit.core.seams import Port
from edgekit.core.store import value_sha256
from edgekit.distill.lora import SCALE, adapted_layers
from edgekit.distill.ranks import Ranks, as_ranks
from edgekit.distill.students.gan import ConvNorm, Generator, check_size
from edgekit.distill.students.text_context import TOKENS

PORT = "adapter"
PARTS = ("norms", "factors", "text")
"""Parts of a concept, in the order in which they fill the input."""


@dataclass(frozen=True, slots=True)
class Block:
    """One run of values of the adapter input: `rows` times `columns` of them."""

    name: str
    """The layer and what of it, such as ``stem.A``; see `edgekit.core.manifest.BlockEntry`."""
    part: str
    group: str
    rows: int
    columns: int
    most: int
    """Rows that a concept's file holds at most, however large its rank."""


@dataclass(slots=True)
class Layout:
    """Where each block lies in the adapter input; filled while the network is built."""

    capacity: Ranks
    blocks: list[Block] = field(default_factory=list)

    def ordered(self) -> list[tuple[int, Block]]:
        """Return (offset, block) in the order of the input: norms, factors, text."""
        placed, offset = [], 0
        for block in sorted(self.blocks, key=lambda block: PARTS.index(block.part)):
            placed.append((offset, block))
            offset += block.rows * block.columns
        return placed

    @property
    def length(self) -> int:
        """Values of the input."""
        return sum(block.rows * block.columns for block in self.blocks)

    def sha256(self) -> str:
        """Hash the order of blocks whatever the capacity: of two equal ones a file fits both."""
        rows = [[b.name, b.part, b.group, b.columns, b.most] for _, b in self.ordered()]
        return value_sha256(rows)

    def entry(self, base_sha256: str) -> dict[str, Any]:
        """Return it as it stands in manifests (`edgekit.core.manifest.AdapterEntry`)."""
        blocks = [
            {
                "name": block.name,
                "part": block.part,
                "group": block.group,
                "offset": offset,
                "rows": block.rows,
                "most": block.most,
                "columns": block.columns,
            }
            for offset, block in self.ordered()
        ]
        return {
            "port": PORT,
            "length": self.length,
            "base_sha256": base_sha256,
            "layout_sha256": self.sha256(),
            "capacity": dict(self.capacity),
            "blocks": blocks,
        }


class _Input:
    """Hands the adapter input, while it runs, to the layers that take their part of it."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.offsets: dict[str, tuple[int, Block]] = {}
        self.vector_1V: Tensor | None = None

    def declare(self, name: str, part: str, group: str, rows: int, columns: int, most: int) -> None:
        self.layout.blocks.append(Block(name, part, group, rows, columns, most))

    def close(self) -> None:
        self.offsets = {block.name: (at, block) for at, block in self.layout.ordered()}

    def value(self, name: str) -> Tensor:
        """Return one block, (rows, columns)."""
        assert self.vector_1V is not None
        offset, block = self.offsets[name]
        values = self.vector_1V[0, offset : offset + block.rows * block.columns]
        return values.reshape(block.rows, block.columns)


class AdaptedConv(nn.Module):
    """A convolution of the base, its norm folded in, beside which a concept's factors act."""

    scale_O1: Tensor

    def __init__(self, layer: ConvNorm | nn.Conv2d, name: str, group: str, source: _Input) -> None:
        """Declare the blocks of `layer`; the base's layer itself is left as it is."""
        super().__init__()
        conv, norm = (layer.conv, layer.norm) if isinstance(layer, ConvNorm) else (layer, None)
        self.kernel, self.stride = conv.kernel_size[0], conv.stride[0]
        if self.kernel not in (1, 3) or conv.padding[0] != self.kernel // 2:
            raise ValueError(f"{name}: expected a 1x1 or a padded 3x3 convolution, got {conv}")
        most = min(conv.out_channels, conv.in_channels)  # what training gives a layer at most
        inputs = conv.in_channels * self.kernel**2
        # A blend of two concepts may need more, up to the rank of any change of this layer.
        self.rank = min(source.layout.capacity[group], conv.out_channels, inputs)
        self.name, self._source = name, source
        self.modulated = isinstance(layer, ConvNorm) and layer.modulation is not None
        weight_OIKK, bias_O, scale_O = _folded(conv, norm)
        self.conv = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            self.kernel,
            self.stride,
            padding=self.kernel // 2,
        )
        self.conv.weight = nn.Parameter(weight_OIKK.float(), requires_grad=False)
        self.conv.bias = nn.Parameter(bias_O.float(), requires_grad=False)
        self.register_buffer("scale_O1", (SCALE * scale_O).float()[:, None])
        # Declared at a capacity of 0 too, with no row: a file's order does not hang on capacity.
        source.declare(f"{name}.A", "factors", group, self.rank, inputs, most)
        source.declare(f"{name}.B", "factors", group, self.rank, conv.out_channels, most)
        if self.modulated:
            for what in ("gain", "bias"):
                source.declare(f"{name}.{what}", "norms", "", 1, conv.out_channels, 1)

    def forward(self, x_NCHW: Tensor, text_ND: Tensor | None = None) -> Tensor:
        """Return the layer's response under the concept; `text_ND` has no say any more."""
        height, width = x_NCHW.shape[-2] // self.stride, x_NCHW.shape[-1] // self.stride
        shape = (1, self.conv.out_channels, height, width)
        if self.rank == self.conv.out_channels and not self.modulated:
            bias_11HW = _present(self.conv.bias)[None, :, None, None]
            return self._product(x_NCHW, self._whole()).reshape(shape) + bias_11HW
        y_NCHW: Tensor = self.conv(x_NCHW)
        gain_1O = 1 + self._source.value(f"{self.name}.gain") if self.modulated else None
        if gain_1O is not None:
            y_NCHW = y_NCHW * gain_1O[:, :, None, None]
        added_OP = None
        if self.rank:
            up_OR = self._up()
            if gain_1O is not None:
                up_OR = up_OR * gain_1O.T
            added_OP = up_OR @ self._product(x_NCHW, self._source.value(f"{self.name}.A"))
        if self.modulated:
            bias_O1 = self._source.value(f"{self.name}.bias").T
            if added_OP is None:
                return y_NCHW + bias_O1.reshape(1, -1, 1, 1)
            added_OP = added_OP + bias_O1
        return y_NCHW if added_OP is None else y_NCHW + added_OP.reshape(shape)

    def _up(self) -> Tensor:
        return self._source.value(f"{self.name}.B").T * self.scale_O1

    def _whole(self) -> Tensor:
        """Return the weights of the layer with the concept's in it, (O, I * K * K)."""
        down = self._source.value(f"{self.name}.A")
        return self.conv.weight.detach().flatten(1) + self._up() @ down

    def _product(self, x_NCHW: Tensor, weight: Tensor) -> Tensor:
        """Return the convolution of `x_NCHW` with computed weights (R, I * K * K) as (R, P)."""
        inputs, height, width = x_NCHW.shape[1:]
        if self.kernel == 1:
            return weight @ x_NCHW.reshape(inputs, height * width)
        rank = weight.shape[0]
        taps = weight.reshape(rank, inputs, 9).transpose(1, 2).reshape(9 * rank, inputs)
        if inputs < 9 * rank:  # zeros are laid around whichever is thinner
            padded = F.pad(x_NCHW, (1, 1, 1, 1))
            spread = taps @ padded.reshape(inputs, (height + 2) * (width + 2))
        else:
            spread = taps @ x_NCHW.reshape(inputs, height * width)
            spread = F.pad(spread.reshape(1, 9 * rank, height, width), (1, 1, 1, 1))
        spread = spread.reshape(rank, 9, height + 2, width + 2)
        shifted = [
            spread[:, 3 * i + j, i : i + height : self.stride, j : j + width : self.stride]
            for i in range(3)
            for j in range(3)
        ]
        total = shifted[0]
        for part in shifted[1:]:
            total = total + part
        return total.reshape(rank, -1)


class _Words(nn.Module):
    """Keys or values of a concept's words, in place of the layer that computes them from text."""

    def __init__(self, layer: nn.Linear, name: str, source: _Input) -> None:
        super().__init__()
        self.name, self._source = name, source
        source.declare(name, "text", "", layer.out_features, TOKENS, layer.out_features)

    def forward(self, context_NTD: Tensor) -> Tensor:
        return self._source.value(self.name).T[None]


class _Place(nn.Module):
    """What the concept adds along one axis of the frame, in place of the layer with its weights."""

    powers: Tensor

    def __init__(self, layer: nn.Linear, name: str, length: int, source: _Input) -> None:
        super().__init__()
        self.name, self._source = name, source
        place = (2 * torch.arange(length) + 1) / length - 1
        # A constant of this size, so that no target has to count pixels.
        self.register_buffer("powers", torch.stack((place, place**2, place**3), dim=1))
        source.declare(name, "text", "", layer.in_features, layer.out_features, layer.in_features)

    def forward(self, powers_L3: Tensor) -> Tensor:
        # Not a matrix product: a quantizer would take the constant for weights.
        weight_3C = self._source.value(self.name)
        one, two, three = (self.powers[:, i : i + 1] * weight_3C[i : i + 1] for i in range(3))
        return one + two + three


class AdaptedStudent(nn.Module):
    """The base as a student with two inputs: ``image`` and ``adapter`` to ``image_out``."""

    def __init__(self, network: Generator, source: _Input) -> None:
        """`network` holds layers that read their part of the second input from `source`."""
        super().__init__()
        self.network = network
        self._source = source

    @property
    def layout(self) -> Layout:
        """Where each value of the second input belongs."""
        return self._source.layout

    def forward(self, image: Tensor, adapter: Tensor) -> Tensor:
        """Return the edit of `image` (1, 3, h, w) by the concept in `adapter` (1, length)."""
        self._source.vector_1V = adapter
        edit: Tensor = self.network(image, image.new_zeros(1, 1, 1))
        return edit


def ports(size_px: int, layout: Layout) -> tuple[tuple[Port, Port], tuple[Port]]:
    """Return the inputs and the output of an adapted student of this size."""
    shape = (1, 3, size_px, size_px)
    adapter = Port(PORT, (1, layout.length), layout="flat")
    return (Port("image", shape), adapter), (Port("image_out", shape),)


def adapted_student(generator: Generator, *, size_px: int, capacity: int | Ranks) -> AdaptedStudent:
    """Return a copy of the base `generator` whose second input switches it to a concept.

    `capacity` is the largest rank of each group. With the values of a concept it computes what
    ``specialized(merged(...))`` of that concept computes. Raises ValueError if `size_px` is not a
    multiple of 32, EdgekitError for ranks that cannot be meant.
    """
    check_size(size_px)
    network = copy.deepcopy(generator).float().cpu().eval().requires_grad_(False)
    source = _Input(Layout(as_ranks(capacity)))
    groups = adapted_layers(network)
    owners = {name.removesuffix(".conv"): group for name, group in groups.items()}
    for name, layer in list(network.named_modules()):
        made: nn.Module | None = None
        group = owners.get(name, "")
        if isinstance(layer, ConvNorm | nn.Conv2d) and group:
            made = AdaptedConv(layer, name, group, source)
        elif isinstance(layer, nn.Linear) and name.endswith(("text_key", "text_value")):
            made = _Words(layer, name, source)
        elif isinstance(layer, nn.Linear) and name.endswith(("place_down", "place_across")):
            made = _Place(layer, name, size_px // 8, source)
        if made is not None:
            parent, _, last = name.rpartition(".")
            setattr(network.get_submodule(parent), last, made)
    network.digest = cast(nn.Sequential, nn.Identity())  # text is digested when a concept is packed
    source.close()
    return AdaptedStudent(network, source).eval()


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return weight, bias and scale of a convolution with its norm folded in, in double precision.

    The scale is what the norm multiplies each output by: factors beside the layer need it too.
    """
    weight_OIKK = conv.weight.detach().double()
    bias_O = torch.zeros(conv.out_channels, dtype=torch.float64)
    if conv.bias is not None:
        bias_O = conv.bias.detach().double()
    if norm is None:
        return weight_OIKK, bias_O, torch.ones_like(bias_O)
    mean_O, variance_O = (
        _present(value).double() for value in (norm.running_mean, norm.running_var)
    )
    scale_O = norm.weight.detach().double() * torch.rsqrt(variance_O + norm.eps)
    bias_O = norm.bias.detach().double() + (bias_O - mean_O) * scale_O
    return weight_OIKK * scale_O[:, None, None, None], bias_O, scale_O


def _present(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def block_values(block: Block, factors: Mapping[str, Tensor]) -> Tensor:
    """Return the rows of a block of factors as a concept's file holds them; (rank, columns)."""
    layer, _, what = block.name.rpartition(".")
    for name in (f"{layer}.conv", layer):
        found = factors.get(f"{name}.lora_{what}.weight")
        if found is not None:
            flat = found.flatten(1).float()
            return flat if what == "A" else flat.T
    return torch.zeros(0, block.columns)
