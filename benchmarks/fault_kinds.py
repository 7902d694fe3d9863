"""What a converter may get wrong, as changes to a program's graph or to a finished file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import fx, nn

from edgekit.export.graph import module_path
from edgekit.export.program import Program

ATEN = torch.ops.aten
Mutate = Callable[[Program], Program]
Damage = Callable[[Path], None]


def _changed(program: Program) -> tuple[Program, fx.GraphModule]:
    module = copy.deepcopy(program.module)
    return replace(program, module=module), module


def _finished(program: Program, module: fx.GraphModule) -> Program:
    module.graph.eliminate_dead_code()
    module.graph.lint()
    module.recompile()
    return program


def parameter(path: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Mutate:
    """Change the stored tensor of a layer: ``path`` ends in weight or bias."""

    def mutate(program: Program) -> Program:
        made, module = _changed(program)
        layer, _, kind = path.rpartition(".")
        node = next(
            n for n in module.graph.nodes if module_path(n) == layer and n.op == "call_module"
        )
        value = getattr(module.get_submodule(str(node.target)), kind)
        with torch.no_grad():
            value.copy_(change(value.clone()))
        return made

    return mutate


def every_parameter(change: Callable[[torch.Tensor], torch.Tensor]) -> Mutate:
    """Change all weights of all layers."""

    def mutate(program: Program) -> Program:
        made, module = _changed(program)
        with torch.no_grad():
            for value in module.parameters():
                if value.ndim > 1:
                    value.copy_(change(value.clone()))
        return made

    return mutate


def operator(target: Any, to: Callable[[fx.Graph, fx.Node], Any], which: int = 0) -> Mutate:
    """Replace the `which`-th call of an operator by what `to` makes of it."""

    def mutate(program: Program) -> Program:
        made, module = _changed(program)
        nodes = [n for n in module.graph.nodes if n.op == "call_function" and n.target == target]
        node = nodes[which]
        with module.graph.inserting_after(node):
            new = to(module.graph, node)
        if new is not node:
            new.meta = dict(node.meta)
            node.replace_all_uses_with(new)
            for argument in new.all_input_nodes:
                if argument is new:
                    new.replace_input_with(new, node)
        return _finished(made, module)

    return mutate


def other(function: Any, *arguments: Any) -> Callable[[fx.Graph, fx.Node], Any]:
    """Call another operator on the first input of the replaced one."""
    return lambda graph, node: graph.call_function(function, (node.args[0], *arguments))


def applied(function: Any, *arguments: Any) -> Callable[[fx.Graph, fx.Node], Any]:
    """Call an operator on a value, such as an input."""
    return lambda graph, node: graph.call_function(function, (node, *arguments))


def argument(position: int, value: Any) -> Callable[[fx.Graph, fx.Node], Any]:
    """Keep the operator and change one argument."""

    def to(graph: fx.Graph, node: fx.Node) -> Any:
        arguments = list(node.args)
        arguments[position] = value
        return graph.call_function(_function(node), tuple(arguments), dict(node.kwargs))

    return to


def keyword(name: str, value: Any) -> Callable[[fx.Graph, fx.Node], Any]:
    """Keep the operator and change one keyword."""
    return lambda graph, node: graph.call_function(
        _function(node), tuple(node.args), {**node.kwargs, name: value}
    )


def _function(node: fx.Node) -> Callable[..., Any]:
    assert callable(node.target), f"{node} calls no operator"
    return node.target


def port(name: str, function: Callable[[fx.Graph, fx.Node], Any]) -> Mutate:
    """Change what comes in at an input before the network sees it."""

    def mutate(program: Program) -> Program:
        made, module = _changed(program)
        places = [n for n in module.graph.nodes if n.op == "placeholder"]
        node = places[[p.name for p in program.inputs].index(name)]
        users = list(node.users)
        with module.graph.inserting_after(places[-1]):
            new = function(module.graph, node)
        for user in users:
            user.replace_input_with(node, new)
        return _finished(made, module)

    return mutate


def swapped_inputs(first: str, second: str) -> Mutate:
    """Hand each of two inputs of one shape to the other's place."""

    def mutate(program: Program) -> Program:
        names = [p.name for p in program.inputs]
        made, module = _changed(program)
        nodes = [n for n in module.graph.nodes if n.op == "placeholder"]
        one, two = nodes[names.index(first)], nodes[names.index(second)]
        users = {one: list(one.users), two: list(two.users)}
        for old, new in ((one, two), (two, one)):
            for user in users[old]:
                user.args = tuple(_exchanged(user.args, old, new))
        return _finished(made, module)

    return mutate


def _exchanged(arguments: Any, old: fx.Node, new: fx.Node) -> list[Any]:
    return [
        [new if a is old else a for a in argument]
        if isinstance(argument, list)
        else (new if argument is old else argument)
        for argument in arguments
    ]


def shifted_padding(path: str) -> Mutate:
    """Pad a convolution on one side only, as "same" padding of another framework does."""

    def mutate(program: Program) -> Program:
        made, module = _changed(program)
        node = next(
            n for n in module.graph.nodes if module_path(n) == path and n.op == "call_module"
        )
        layer = cast(nn.Conv2d, module.get_submodule(str(node.target)))
        amount = cast(tuple[int, ...], layer.padding)[0]
        layer.padding = (0, 0)
        with module.graph.inserting_before(node):
            around = [0, 2 * amount, 0, 2 * amount]
            padded = module.graph.call_function(
                ATEN.constant_pad_nd.default, (node.args[0], around, 0.0)
            )
        node.args = (padded,)
        return _finished(made, module)

    return mutate


def without(target: Any, which: int = 0) -> Mutate:
    """Drop an addition: a skip connection that is not there."""
    return operator(
        target, lambda graph, node: graph.call_function(ATEN.clone.default, (node.args[1],)), which
    )


# Finished files

_GRID = ("_scale", "_zero_point")


def onnx_weight(part: str, change: Callable[[Any], Any]) -> Damage:
    """Change the first initializer whose name holds `part`."""

    def damage(path: Path) -> None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load(path)
        numbers = [t for t in model.graph.initializer if t.dims and not t.name.endswith(_GRID)]
        tensor = next(t for t in numbers if part in t.name)
        value = numpy_helper.to_array(tensor)
        tensor.CopyFrom(
            numpy_helper.from_array(
                np.ascontiguousarray(change(value)).astype(value.dtype), tensor.name
            )
        )
        onnx.save(model, path)

    return damage


def onnx_scale(part: str, factor: float, *, weights: bool) -> Damage:
    """Scale what a DequantizeLinear (of a weight, or of an activation and its partner) says."""

    def damage(path: Path) -> None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load(path)
        held = {t.name: t for t in model.graph.initializer}
        kinds = ("DequantizeLinear",) if weights else ("QuantizeLinear", "DequantizeLinear")
        nodes = [
            n
            for n in model.graph.node
            if n.op_type in kinds and (n.input[0] in held) == weights and part in n.input[1]
        ]
        scale = held[nodes[0].input[1]]
        value = numpy_helper.to_array(scale) * np.float32(factor)
        scale.CopyFrom(numpy_helper.from_array(value.astype(np.float32), scale.name))
        onnx.save(model, path)

    return damage


def tflite_tensor(change: Callable[[Any], Any], *, which: int, bias: bool = False) -> Damage:
    """Change the stored numbers of the `which`-th weight (or bias) from the largest."""

    def damage(path: Path) -> None:
        model, tensors = _tflite(path)
        rank = (lambda t: len(t.shape) == 1) if bias else (lambda t: len(t.shape) > 1)
        chosen = sorted(filter(rank, tensors), key=lambda t: -len(model.buffers[t.buffer].data))
        tensor = chosen[which]
        kind = {0: np.float32, 1: np.float16, 9: np.int8, 2: np.int32}[tensor.type]
        value = np.frombuffer(bytes(model.buffers[tensor.buffer].data), kind).reshape(tensor.shape)
        made = np.ascontiguousarray(change(value)).astype(kind)
        model.buffers[tensor.buffer].data = np.frombuffer(made.tobytes(), np.uint8)
        _write_tflite(model, path)

    return damage


def tflite_scale(factor: float, *, which: int, channel: int | None = None) -> Damage:
    """Change the scales of the `which`-th int8 weight from the largest."""

    def damage(path: Path) -> None:
        model, tensors = _tflite(path)
        chosen = [t for t in tensors if t.type == 9 and t.quantization and len(t.shape) > 1]
        chosen.sort(key=lambda t: -len(model.buffers[t.buffer].data))
        scales = np.array(chosen[which].quantization.scale, np.float32)
        scales[slice(None) if channel is None else channel] *= factor
        chosen[which].quantization.scale = scales
        _write_tflite(model, path)

    return damage


def _tflite(path: Path) -> tuple[Any, list[Any]]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    stored = [
        t
        for graph in model.subgraphs
        for t in graph.tensors
        if t.type in (0, 1, 2, 9)
        and t.shape is not None
        and len(t.shape)
        and model.buffers[t.buffer].data is not None
        and len(model.buffers[t.buffer].data) >= 16
    ]
    return model, [t for t in stored if t.type != 2 or len(t.shape) == 1]


def _write_tflite(model: Any, path: Path) -> None:
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))


def mlpackage_blob(change: Callable[[Any], Any], *, kind: str, which: int = 0) -> Damage:
    """Change the `which`-th weight from the largest in a package's file of weights.

    `kind` is ``weight`` (the numbers of a weight, float16 or int8) or ``scale`` (of int8 weights).
    """

    def damage(path: Path) -> None:
        from edgekit.export.targets.coreml import _operations

        found = []
        for operation in _operations(path):
            for key, value in _blobs(operation):
                tensor = value.type.tensorType
                shape = [d.constant.size for d in tensor.dimensions]
                found.append((key, value.blobFileValue.offset, tensor.dataType, shape))
        wanted = (
            [f for f in found if f[0] == "scale"]
            if kind == "scale"
            else [f for f in found if len(f[3]) > 1]
        )
        wanted.sort(key=lambda f: -int(np.prod(f[3])))
        _, offset, dtype, shape = wanted[which]
        numbers = {10: np.float16, 11: np.float32, 21: np.int8}[dtype]
        weights = path / "Data/com.apple.CoreML/weights/weight.bin"
        content = bytearray(weights.read_bytes())
        start = int.from_bytes(content[offset + 16 : offset + 24], "little")
        count = int(np.prod(shape))
        size = count * np.dtype(numbers).itemsize
        value = np.frombuffer(bytes(content[start : start + size]), numbers).reshape(shape)
        made = np.ascontiguousarray(change(value)).astype(numbers)
        content[start : start + size] = made.tobytes()
        weights.write_bytes(bytes(content))

    return damage


def _blobs(operation: Any) -> list[tuple[str, Any]]:
    held = [
        (key, binding.value)
        for key, argument in operation.inputs.items()
        for binding in argument.arguments
        if binding.WhichOneof("binding") == "value"
    ]
    held += list(operation.attributes.items())
    return [(key, value) for key, value in held if value.WhichOneof("value") == "blobFileValue"]


def scaled(factor: float) -> Callable[[Any], Any]:
    """Multiply by `factor`."""
    return lambda value: value * factor


def swapped(axis: int, first: int = 0, second: int = 1) -> Callable[[Any], Any]:
    """Exchange two channels."""

    def change(value: Any) -> Any:
        order = list(range(value.shape[axis]))
        order[first], order[second] = order[second], order[first]
        if isinstance(value, torch.Tensor):
            return value.index_select(axis, torch.tensor(order))
        return np.take(value, order, axis)

    return change


def nothing(value: Any) -> Any:
    """Zeros: what is dropped."""
    return value * 0


def stale(seed: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """Weights of another student: the same sizes and spread, other numbers."""

    def change(value: torch.Tensor) -> torch.Tensor:
        random = torch.Generator().manual_seed(seed)
        return torch.randn(value.shape, generator=random) * value.std()

    return change


def flipped(value: Any) -> Any:
    """A kernel turned by 180 degrees: convolution taken for correlation."""
    return value.flip((2, 3)) if isinstance(value, torch.Tensor) else value[:, :, ::-1, ::-1]


def rolled(value: Any) -> Any:
    """The outputs of a layer stored one place off."""
    return np.roll(value, 1, 0)
