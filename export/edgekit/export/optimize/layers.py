"""The layers of a program that hold weights, their inputs as columns, and their weights as rows.

Shape key, used as name suffixes in this package:
    G groups   O outputs of a group   K weights an output   L places
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal, TypeAlias, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgekit.export.graph import module_path
from edgekit.export.program import Feed, Program

Kind: TypeAlias = Literal["conv", "linear", "transposed"]
MIN_WEIGHTS = 256
"""Smaller weights decide neither the bytes of a file nor its time."""
_ATEN = torch.ops.aten
_TRANSPOSED = _ATEN.conv_transpose2d.input


@dataclass(frozen=True, slots=True)
class Layer:
    """One convolution, linear layer or transposed convolution with stored weights."""

    name: str
    """Path of the module in the original network; unique."""
    node: str
    weight: str
    """Path of the weight in the program's module."""
    kind: Kind
    shape: tuple[int, ...]
    groups: int
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    macs: int

    @property
    def elements(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)

    @property
    def depthwise(self) -> bool:
        """Whether each output sees one channel."""
        return self.kind == "conv" and self.groups > 1 and self.shape[1] == 1

    @property
    def out_axis(self) -> int:
        """Axis of the weight that counts outputs."""
        return 1 if self.kind == "transposed" else 0


def layers_of(program: Program) -> tuple[Layer, ...]:
    """Return the layers whose precision is worth a choice, in the order in which they run."""
    found: dict[str, Layer] = {}
    weights: set[str] = set()
    for node in program.module.graph.nodes:
        made = _layer(program.module, node)
        if made is None or made.elements < MIN_WEIGHTS or made.weight in weights:
            continue
        name, count = made.name, 1
        while name in found:
            count += 1
            name = f"{made.name}:{count}"
        weights.add(made.weight)
        found[name] = made if name == made.name else _renamed(made, name)
    return tuple(found.values())


def _renamed(layer: Layer, name: str) -> Layer:
    from dataclasses import replace

    return replace(layer, name=name)


def _layer(module: fx.GraphModule, node: fx.Node) -> Layer | None:
    name = module_path(node) or node.name
    if node.op == "call_module":
        inner = module.get_submodule(str(node.target))
        path = f"{node.target}.weight"
        if isinstance(inner, nn.Linear):
            return Layer(
                name,
                node.name,
                path,
                "linear",
                tuple(inner.weight.shape),
                1,
                (1, 1),
                (0, 0),
                (1, 1),
                _places(node) // inner.out_features * inner.weight.numel(),
            )
        if isinstance(inner, nn.Conv2d) and not isinstance(inner.padding, str):
            stride, padding, dilation = (
                (int(v[0]), int(v[1])) for v in (inner.stride, inner.padding, inner.dilation)
            )
            macs = _places(node) // inner.out_channels * inner.weight.numel()
            return Layer(
                name,
                node.name,
                path,
                "conv",
                tuple(inner.weight.shape),
                inner.groups,
                stride,
                padding,
                dilation,
                macs,
            )
        if isinstance(inner, nn.ConvTranspose2d) and inner.groups == 1:
            stride, padding, dilation = (
                (int(v[0]), int(v[1])) for v in (inner.stride, inner.padding, inner.dilation)
            )
            shape = tuple(inner.weight.shape)
            macs = _places(node) // shape[1] * math.prod(shape) // math.prod(stride)
            kind: Kind = "transposed"
            if dilation == (1, 1):
                return Layer(name, node.name, path, kind, shape, 1, stride, padding, dilation, macs)
        return None
    if node.op != "call_function" or node.target != _TRANSPOSED:
        return None
    weight = node.args[1]
    if not isinstance(weight, fx.Node) or weight.op != "get_attr":
        return None
    arguments = [*node.args[3:], None, None, None, None, None]
    stride, padding = _pair(arguments[0], 1), _pair(arguments[1], 0)
    groups, dilation = int(cast(int, arguments[3] or 1)), _pair(arguments[4], 1)
    shape = tuple(attrgetter(str(weight.target))(module).shape)
    if groups != 1 or dilation != (1, 1):
        return None
    macs = _places(node) // shape[1] * math.prod(shape) // math.prod(stride)
    return Layer(
        name,
        node.name,
        str(weight.target),
        "transposed",
        shape,
        1,
        stride,
        padding,
        dilation,
        macs,
    )


def _places(node: fx.Node) -> int:
    return int(node.meta["val"].numel())


def _pair(value: Any, default: int) -> tuple[int, int]:
    values = [default] if value is None else list(value)
    return (int(values[0]), int(values[-1]))


def weight_of(program: Program, layer: Layer) -> Tensor:
    """Return the stored weight of `layer`."""
    found: Tensor = attrgetter(layer.weight)(program.module)
    return found.detach()


@contextmanager
def with_weights(program: Program, weights: Mapping[str, Tensor]) -> Iterator[None]:
    """Run the body with other weights (path in the module -> tensor) in place."""
    kept = {}
    try:
        for path, value in weights.items():
            parameter = attrgetter(path)(program.module)
            kept[path] = parameter.data
            parameter.data = value.to(parameter.dtype).contiguous()
        yield
    finally:
        for path, value in kept.items():
            attrgetter(path)(program.module).data = value


def rows(weight: Tensor, layer: Layer) -> Tensor:
    """Return a weight as GOK: what stands in a row meets one column of `columns`."""
    if layer.kind == "transposed":
        flipped = weight.flip(2, 3).transpose(0, 1)
        return flipped.reshape(1, flipped.shape[0], -1)
    return weight.reshape(layer.groups, weight.shape[0] // layer.groups, -1)


def from_rows(value_GOK: Tensor, layer: Layer) -> Tensor:
    """Undo `rows`."""
    if layer.kind == "transposed":
        inputs, outputs, high, wide = layer.shape
        back = value_GOK.reshape(outputs, inputs, high, wide).transpose(0, 1)
        return back.flip(2, 3).contiguous()
    return value_GOK.reshape(layer.shape).contiguous()


def columns(value: Tensor, layer: Layer, *, most: int, generator: torch.Generator) -> Tensor:
    """Return up to `most` columns of the input `value` of a layer as GKL."""
    if layer.kind == "linear":
        found = value.reshape(-1, value.shape[-1]).T[None]
    elif layer.kind == "conv":
        found = F.unfold(
            value, layer.shape[2:], dilation=layer.dilation, padding=layer.padding,
            stride=layer.stride,
        )  # fmt: skip
        found = found.transpose(0, 1).reshape(found.shape[1], -1)
        found = found.reshape(layer.groups, -1, found.shape[-1])
    else:
        found = _transposed_columns(value, layer)
    if found.shape[-1] <= most:
        return found
    chosen = torch.randperm(found.shape[-1], generator=generator)[:most]
    return found[..., chosen]


def _transposed_columns(value: Tensor, layer: Layer) -> Tensor:
    """A transposed convolution is a plain one over its input with zeros between the pixels."""
    count, channels, high, wide = value.shape
    across, down = layer.stride[1], layer.stride[0]
    stuffed = value.new_zeros(count, channels, (high - 1) * down + 1, (wide - 1) * across + 1)
    stuffed[..., ::down, ::across] = value
    padding = [side - 1 - pad for side, pad in zip(layer.shape[2:], layer.padding, strict=True)]
    found = F.unfold(stuffed, layer.shape[2:], padding=(max(0, padding[0]), max(0, padding[1])))
    return found.transpose(0, 1).reshape(1, found.shape[1], -1)


class _Watching(fx.Interpreter):
    """Runs a graph and hands the input of each watched node over."""

    def __init__(self, module: fx.GraphModule, watched: Mapping[str, Any]) -> None:
        super().__init__(module)
        self._watched = watched

    def run_node(self, n: fx.Node) -> Any:
        if n.name in self._watched:
            self._watched[n.name](self.fetch_args_kwargs_from_env(n)[0][0])
        return super().run_node(n)


def watch_inputs(program: Program, feeds: Sequence[Feed], watched: Mapping[str, Any]) -> None:
    """Run `program` on `feeds` and call ``watched[node](input)`` for each node named there."""
    runner = _Watching(program.module, watched)
    with torch.no_grad():
        for feed in feeds:
            runner.run(*(torch.from_numpy(feed[port.name]) for port in program.inputs))
