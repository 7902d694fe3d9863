"""A program at other picture sizes than its own: one side at a time, or any side in one graph.

A saved program has its sizes written into it: a reshape to 1024 tokens only fits a 32 x 32 map.
Here the program is followed at another side; where a written size no longer fits, the ratio of the
old and the new map says what it stands for (constant, one side, or an area), and it is replaced.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import fx

from edgekit.core.seams import Port
from edgekit.core.tensors import Batch
from edgekit.export.adversarial import is_picture, on_byte_grid
from edgekit.export.graph import placeholders
from edgekit.export.program import Program
from edgekit.export.targets import Options, Refused

Shape: TypeAlias = tuple[int, ...]

_ATEN = torch.ops.aten
_RESHAPES = (
    _ATEN.reshape.default,
    _ATEN.view.default,
    _ATEN._unsafe_view.default,
    _ATEN.expand.default,
)
_RESIZES = {
    _ATEN.upsample_nearest2d.vec,
    _ATEN.upsample_bilinear2d.vec,
    _ATEN.upsample_nearest2d.default,
    _ATEN.upsample_bilinear2d.default,
}
_SIDES = (2, 3)


class FixedSize(Refused):
    """A program that only works at its own picture size, with the reason."""


def sized(program: Program, side: int) -> Program:
    """Return `program` for pictures whose height is `side`; the width keeps its ratio.

    Raises FixedSize for a program that cannot be resized, such as one with stored positions.
    """
    factor = _factor(program, side)
    written = _written_sizes(program, factor)
    module = _with_sizes(program.module, written)
    inputs, outputs = _shapes(module, program, factor)
    return replace(program, module=module, inputs=inputs, outputs=outputs)


def any_size(program: Program, sides: Sequence[int]) -> fx.GraphModule:
    """Return the module of `program` for pictures of any side, at least all of `sides`.

    Raises FixedSize for a program that cannot be resized.
    """
    own = own_side(program)
    for side in sides:
        _written_sizes(program, _factor(program, side))
    doubled = _written_sizes(program, 2.0)
    module = copy.deepcopy(program.module)
    picture = next(
        node
        for node, port in zip(placeholders(module), program.inputs, strict=True)
        if is_picture(port)
    )
    nodes = {node.name: node for node in module.graph.nodes}
    with module.graph.inserting_after(placeholders(module)[-1]):
        height = module.graph.call_function(_ATEN.sym_size.int, (picture, 2))
    for name, sizes in doubled.items():
        node = nodes[name]
        old = _written(node)
        varying = [i for i, (a, b) in enumerate(zip(old, sizes, strict=True)) if a != b]
        made: list[Any] = list(old)
        with module.graph.inserting_before(node):
            for i in varying:
                power = round(math.log2(sizes[i] / old[i]))
                made[i] = _scaled(module.graph, height, old[i], own, power)
        if len(varying) == 1 and node.target not in _RESIZES and node.target != _RESHAPES[-1]:
            made[varying[0]] = -1
        _write(node, made)
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return module


def sides_of(program: Program, options: Options) -> tuple[int, ...]:
    """Return all sides that a file of several sizes takes, its own included; () for one size."""
    if not options.sizes:
        return ()
    return tuple(sorted({own_side(program), *options.sizes}))


def at_side(port: Port, side: int) -> Shape:
    """Return the shape of a picture port whose height is `side`."""
    return _grown(port.shape, side / port.shape[2])


def dynamic_sides(port: Port) -> dict[int, Any] | None:
    """Say to torch.export which dimensions of a port are free."""
    return dict.fromkeys(_SIDES, torch.export.Dim.AUTO) if is_picture(port) else None


def feed_at(program: Program, feed: Mapping[str, Batch], side: int) -> dict[str, Batch]:
    """Return `feed` with its pictures scaled to the height `side`."""
    made = dict(feed)
    for port in program.inputs:
        if is_picture(port):
            picture = torch.from_numpy(np.array(feed[port.name]))
            size = at_side(port, side)[2:]
            scaled = F.interpolate(picture, size=size, mode="bilinear", antialias=True)
            made[port.name] = on_byte_grid(scaled.numpy(), port)
    return made


def own_side(program: Program) -> int:
    """Return the height of the program's pictures; FixedSize if it takes none."""
    for port in program.inputs:
        if is_picture(port):
            return port.shape[2]
    raise FixedSize("the student takes no picture, so it has no other sizes")


def _scaled(graph: fx.Graph, height: fx.Node, size: int, own: int, power: int) -> fx.Node:
    value = height
    for _ in range(power - 1):
        value = graph.call_function(operator.mul, (value, height))
    divisor = own**power
    shared = math.gcd(size, divisor)
    if size // shared != 1:
        value = graph.call_function(operator.mul, (value, size // shared))
    if divisor // shared != 1:
        value = graph.call_function(operator.floordiv, (value, divisor // shared))
    return value


def _factor(program: Program, side: int) -> float:
    return side / own_side(program)


def _written(node: fx.Node) -> list[int]:
    """Return the sizes that are written into a node, with what -1 stands for filled in."""
    if node.target in _RESIZES:
        return [int(n) for n in node.meta["val"].shape[2:]]
    return [int(n) for n in node.meta["val"].shape]


def _write(node: fx.Node, sizes: Sequence[Any]) -> None:
    arguments = list(node.args)
    arguments[1] = list(sizes)
    node.args = tuple(arguments)
    if node.target in _RESIZES and len(node.args) > 2:
        kept = list(node.args)
        if node.target == _ATEN.upsample_nearest2d.vec:
            kept[2] = None
        node.args = tuple(kept)


def _with_sizes(module: fx.GraphModule, written: Mapping[str, Sequence[int]]) -> fx.GraphModule:
    made = copy.deepcopy(module)
    for node in made.graph.nodes:
        if node.name in written:
            _write(node, written[node.name])
    made.recompile()
    return made


class _Follower(fx.Interpreter):
    """Runs a graph at another side and puts right the sizes that are written into it."""

    def __init__(self, module: fx.GraphModule, factor: float) -> None:
        super().__init__(module)
        self.written: dict[str, list[int]] = {}
        self._factor = factor

    def run_node(self, n: fx.Node) -> Any:
        if n.op == "call_function" and (n.target in _RESHAPES or _resizes_to_a_size(n)):
            source = self.fetch_args_kwargs_from_env(n)[0][0]
            taken = n.args[0]
            assert isinstance(taken, fx.Node)
            old = [int(size) for size in taken.meta["val"].shape]
            sizes = (
                [round(size * self._factor) for size in _written(n)]
                if n.target in _RESIZES
                else rewritten(old, list(source.shape), _written(n), self._factor)
            )
            if sizes != _written(n):
                self.written[n.name] = sizes
            arguments, keywords = self.fetch_args_kwargs_from_env(n)
            changed = [source, sizes, *arguments[2:]]
            return n.target(*changed, **keywords)  # type: ignore[operator]
        return super().run_node(n)


def _resizes_to_a_size(node: fx.Node) -> bool:
    return node.target in _RESIZES and len(node.args) > 1 and node.args[1] is not None


def rewritten(
    old: Sequence[int], new: Sequence[int], asked: Sequence[int], factor: float
) -> list[int]:
    """Return what a reshape of `old` to `asked` becomes for an input of the shape `new`.

    >>> rewritten([1, 32, 8, 8], [1, 32, 16, 16], [1, 2, 16, 64], 2.0)
    [1, 2, 16, 256]
    >>> rewritten([1, 32, 64], [1, 32, 256], [1, 32, 8, 8], 2.0)
    [1, 32, 16, 16]
    """
    made = list(asked)
    i = j = 0
    while j < len(asked):
        before, after = [old[i]] if i < len(old) else [1], [j]
        ratio = new[i] / old[i] if i < len(old) else 1.0
        i, j = i + 1, j + 1
        while math.prod(before) != math.prod(asked[k] for k in after):
            if math.prod(before) < math.prod(asked[k] for k in after) and i < len(old):
                before.append(old[i])
                ratio *= new[i] / old[i]
                i += 1
            elif j < len(asked):
                after.append(j)
                j += 1
            else:
                raise FixedSize(f"a reshape of {list(old)} to {list(asked)} has no other sizes")
        _spread(made, after, ratio, factor)
    return made


def _spread(sizes: list[int], places: Sequence[int], ratio: float, factor: float) -> None:
    """Multiply the sizes at `places` so that their product grows by `ratio`."""
    if ratio == 1 or factor == 1:
        return
    power = round(math.log(ratio) / math.log(factor))
    growing = [place for place in places if sizes[place] > 1][-power:]
    if len(growing) == 1:
        sizes[growing[0]] = round(sizes[growing[0]] * ratio)
        return
    for place in growing:
        sizes[place] = round(sizes[place] * factor)


def _written_sizes(program: Program, factor: float) -> dict[str, list[int]]:
    """Follow `program` at `factor` times its side; return node -> the sizes to write there."""
    follower = _Follower(program.module, factor)
    inputs = [
        torch.zeros(_grown(port.shape, factor) if is_picture(port) else port.shape)
        for port in program.inputs
    ]
    try:
        with torch.no_grad():
            follower.run(*inputs)
    except FixedSize:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise FixedSize(f"the student only works at its own size: {first[:200]}") from error
    return follower.written


def _grown(shape: Shape, factor: float) -> Shape:
    made = tuple(n * factor if i in _SIDES else n for i, n in enumerate(shape))
    if any(n != int(n) for n in made):
        raise FixedSize(f"pictures of {shape[2]} x {shape[3]} cannot be scaled by {factor:g}")
    return tuple(int(n) for n in made)


def _shapes(module: fx.GraphModule, program: Program, factor: float) -> tuple[Any, Any]:
    inputs = tuple(
        replace(port, shape=_grown(port.shape, factor)) if is_picture(port) else port
        for port in program.inputs
    )
    with torch.no_grad():
        made = module(*(torch.zeros(port.shape) for port in inputs))
    outputs = tuple(
        replace(port, shape=tuple(value.shape))
        for port, value in zip(program.outputs, made, strict=True)
    )
    return inputs, outputs
