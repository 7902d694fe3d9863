"""One choice for each layer of an ONNX file: computed in int8, stored small, or left as it is.

``w8a8`` layers carry explicit Q/DQ pairs in the form that ONNX Runtime fuses: uint8 activations
with fixed ranges, int8 weights an output, int32 biases. ``w8`` and ``w4`` weights are stored as
integers behind a Cast and a Mul that the runtime folds when it loads, so they are computed in
float: small, accurate and exactly as fast as float32. (A DequantizeLinear is not folded: ONNX
Runtime 1.32 keeps it for fusions that never come, and runs it on every call.) ``half`` weights are
stored as float16.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgekit.core.onnx_settings import session_settings
from edgekit.core.store import write_bytes
from edgekit.core.tensors import Batch
from edgekit.export.program import Feed

Choice: TypeAlias = Literal["float", "half", "w8", "w4", "w8a8"]
LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
COMPUTED = ("Conv", "Gemm", "MatMul")
"""Operators that ONNX Runtime computes in int8; ConvTranspose is not among them."""
INT4_OPSET = 21
BINS = 2048


@dataclass(frozen=True, slots=True)
class Stored:
    """A weight on its grid as the file keeps it."""

    weight: Batch
    scale: Batch | None
    axis: int


@dataclass(frozen=True, slots=True)
class Ranges:
    """Where the values of a tensor lie over the calibration pictures."""

    low: float
    high: float
    histogram: Batch

    def span(self, how: str) -> tuple[float, float]:
        """Return the range to spread 256 steps over: all of it, or the one of least error."""
        low, high = min(0.0, self.low), max(0.0, self.high)
        if how == "minmax" or high <= low:
            return low, high
        width = (self.high - self.low) / len(self.histogram)
        centres = self.low + (np.arange(len(self.histogram)) + 0.5) * width
        best = (math.inf, low, high)
        for cut in np.linspace(0.4, 1.0, 31):
            for one, two in {(low * cut, high * cut), (low, high * cut), (low * cut, high)}:
                step = max(two - one, 1e-12) / 255
                inside = np.clip(centres, one, two)
                error = (centres - inside) ** 2
                cost = float(np.sum(self.histogram * error))
                cost += float(np.sum(self.histogram)) * step**2 / 12
                best = min(best, (cost, one, two))
        return best[1], best[2]


def weights_of(model: Any) -> dict[str, Batch]:
    """Return the float weights of an ONNX model that layers take."""
    taken = {node.input[1] for node in model.graph.node if node.op_type in LAYERS}
    return {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in model.graph.initializer
        if tensor.name in taken and tensor.data_type == TensorProto.FLOAT
    }


def _telling(model: Any, wanted: Sequence[str]) -> Any:
    """Return a session that gives inner values too."""
    known = {value.name for value in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in dict.fromkeys(wanted)
        if name not in known
    )
    return onnxruntime.InferenceSession(
        model.SerializeToString(), session_settings(), providers=["CPUExecutionProvider"]
    )


def activation_ranges(source: Path, feeds: Sequence[Feed]) -> dict[str, Ranges]:
    """Run the float file on `feeds` and return where the inputs and outputs of its layers lie."""
    model = onnx.load(source)
    wanted = _watched(model)
    session = _telling(model, wanted)
    inputs = {value.name for value in model.graph.input}
    low = dict.fromkeys(wanted, math.inf)
    high = dict.fromkeys(wanted, -math.inf)
    computed = [name for name in wanted if name not in inputs]

    def values(feed: Feed) -> dict[str, Batch]:
        found = dict(zip(computed, session.run(computed, dict(feed)), strict=True))
        return {**found, **{name: feed[name] for name in wanted if name in inputs}}

    for feed in feeds:
        for name, value in values(feed).items():
            low[name] = min(low[name], float(value.min()))
            high[name] = max(high[name], float(value.max()))
    counts = {name: np.zeros(BINS) for name in wanted}
    for feed in feeds:
        for name, value in values(feed).items():
            span = (low[name], max(high[name], low[name] + 1e-9))
            counts[name] += np.histogram(value, BINS, span)[0]
    return {name: Ranges(low[name], high[name], counts[name]) for name in wanted}


def _watched(model: Any) -> list[str]:
    relu = {node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Relu"}
    names: dict[str, None] = {}
    for node in model.graph.node:
        if node.op_type in COMPUTED:
            names[node.input[0]] = None
            names[node.output[0]] = None
            if node.output[0] in relu:
                names[relu[node.output[0]]] = None
    stored = {tensor.name for tensor in model.graph.initializer}
    return [name for name in names if name not in stored]


class _Graph:
    """A model that is being rewritten: what makes and takes each tensor."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.graph = model.graph
        self.stored = {tensor.name: tensor for tensor in self.graph.initializer}
        self.takers: dict[str, list[Any]] = {}
        self.makers: dict[str, Any] = {}
        for node in self.graph.node:
            for name in node.input:
                self.takers.setdefault(name, []).append(node)
            for name in node.output:
                self.makers[name] = node
        self.outputs = {value.name for value in self.graph.output}
        self.added: list[Any] = []
        self.rounded: dict[str, str] = {}

    def constant(self, name: str, value: Batch) -> str:
        """Store an array under a new name."""
        self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def replace(self, name: str) -> None:
        """Drop an initializer, whose name a node will give."""
        self.graph.initializer.remove(self.stored.pop(name))

    def pair(self, name: str, span: tuple[float, float]) -> tuple[str, Batch]:
        """Put a Q/DQ pair behind a tensor for its takers; return the new name and the scale."""
        low, high = span
        scale = np.float32(max(high - low, 1e-8) / 255)
        zero = np.uint8(np.clip(round(-low / float(scale)), 0, 255))
        if name not in self.rounded:
            self.constant(f"{name}_scale", np.array(scale, np.float32))
            self.constant(f"{name}_zero", np.array(zero, np.uint8))
            extra = [f"{name}_scale", f"{name}_zero"]
            self.added += [
                helper.make_node(
                    "QuantizeLinear", [name, *extra], [f"{name}_q"], name=f"{name}_quantized"
                ),
                helper.make_node(
                    "DequantizeLinear", [f"{name}_q", *extra], [f"{name}_dq"], name=f"{name}_back"
                ),
            ]
            self.rounded[name] = f"{name}_dq"
        return self.rounded[name], np.array(scale, np.float32)


def write_layers(
    source: Path,
    path: Path,
    *,
    choices: Mapping[str, Choice],
    weights: Mapping[str, Stored],
    ranges: Mapping[str, Ranges],
    how: str,
) -> None:
    """Write the float file `source` to `path` with one choice for each weight.

    `choices` and `weights` are keyed by the name of the weight in the file. Raises ValueError for
    a choice that the operator which takes the weight cannot have.
    """
    work = _Graph(onnx.load(source))
    users = {node.input[1]: node for node in work.graph.node if node.op_type in LAYERS}
    for name, choice in choices.items():
        node = users[name]
        if choice == "half":
            _as_half(work, name)
        elif choice in ("w8", "w4"):
            _as_integers(work, name, weights[name], 8 if choice == "w8" else 4)
        elif choice == "w8a8":
            if node.op_type not in COMPUTED:
                raise ValueError(f"{node.op_type} is not computed in int8")
            _computed(work, node, weights[name], ranges, how)
    _sorted(work)
    if any(choice == "w4" for choice in choices.values()):
        work.model.opset_import[0].version = max(INT4_OPSET, work.model.opset_import[0].version)
    write_bytes(path, work.model.SerializeToString(deterministic=True))


def _as_half(work: _Graph, name: str) -> None:
    value = numpy_helper.to_array(work.stored[name])
    work.replace(name)
    work.constant(f"{name}_half", value.astype(np.float16))
    work.added.append(
        helper.make_node(
            "Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT, name=f"{name}_cast"
        )
    )


def _as_integers(work: _Graph, name: str, made: Stored, bits: int, *, fused: bool = False) -> None:
    """Store integers whose dequantized values keep the weight's own name."""
    assert made.scale is not None
    codes = _codes(made)
    work.replace(name)
    if bits == 8:
        work.constant(f"{name}_q", codes.astype(np.int8))
    else:
        flat = np.append(codes.ravel(), 0)[: codes.size + codes.size % 2].astype(np.int8)
        packed = (flat[0::2] & 0x0F) | ((flat[1::2] & 0x0F) << 4)
        work.graph.initializer.append(
            helper.make_tensor(
                f"{name}_q",
                TensorProto.INT4,
                codes.shape,
                packed.astype(np.uint8).tobytes(),
                raw=True,
            )
        )
    if fused:
        work.constant(f"{name}_scale", made.scale.astype(np.float32))
        work.added.append(
            helper.make_node(
                "DequantizeLinear",
                [f"{name}_q", f"{name}_scale"],
                [name],
                axis=made.axis,
                name=f"{name}_back",
            )
        )
        return
    shape = [-1 if axis == made.axis else 1 for axis in range(made.weight.ndim)]
    work.constant(f"{name}_scale", made.scale.astype(np.float32).reshape(shape))
    work.added += [
        helper.make_node(
            "Cast", [f"{name}_q"], [f"{name}_cast"], to=TensorProto.FLOAT, name=f"{name}_wide"
        ),
        helper.make_node("Mul", [f"{name}_cast", f"{name}_scale"], [name], name=f"{name}_back"),
    ]


def _codes(made: Stored) -> Batch:
    assert made.scale is not None
    shape = [-1 if axis == made.axis else 1 for axis in range(made.weight.ndim)]
    codes: Batch = np.round(made.weight / made.scale.reshape(shape))
    return codes


def _computed(
    work: _Graph, node: Any, made: Stored, ranges: Mapping[str, Ranges], how: str
) -> None:
    name, given = node.input[1], node.input[0]
    _as_integers(work, name, made, 8, fused=True)
    taken, scale = work.pair(given, ranges[given].span(how))
    node.input[0] = taken
    if node.op_type == "Conv":
        bias = node.input[2] if len(node.input) > 2 else None
        if bias in work.stored:
            node.input[2] = _integer_bias(work, node, str(bias), scale * made.scale)
        _round_result(work, node, ranges, how)
        return
    # ONNX Runtime makes a Gemm of MatMul and Add and then finds no int8 kernel for it; a bias of
    # three dimensions keeps the two apart, and the MatMul is computed in int8.
    takers = work.takers.get(node.output[0], [])
    if node.op_type == "MatMul" and len(takers) == 1 and takers[0].op_type == "Add":
        for place, bias in enumerate(takers[0].input):
            if bias in work.stored and len(work.stored[bias].dims) == 1:
                value = numpy_helper.to_array(work.stored[bias])
                takers[0].input[place] = work.constant(f"{name}_bias", value.reshape(1, 1, -1))


def _integer_bias(work: _Graph, node: Any, bias: str, scale: Batch) -> str:
    value = numpy_helper.to_array(work.stored[bias]).astype(np.float64)
    codes = np.clip(np.round(value / scale), -(2**31), 2**31 - 1).astype(np.int32)
    stem = f"{node.input[1]}_bias"
    work.constant(f"{stem}_q", codes)
    work.constant(f"{stem}_scale", scale.astype(np.float32))
    work.added.append(
        helper.make_node(
            "DequantizeLinear", [f"{stem}_q", f"{stem}_scale"], [stem], axis=0, name=f"{stem}_back"
        )
    )
    return stem


def _round_result(work: _Graph, node: Any, ranges: Mapping[str, Ranges], how: str) -> None:
    """Round what a convolution gives, behind its ReLU if it has one: only then is it fused."""
    made = node.output[0]
    takers = work.takers.get(made, [])
    if len(takers) == 1 and takers[0].op_type == "Relu" and made not in work.outputs:
        made = takers[0].output[0]
    if made in work.outputs or made in work.rounded:
        return
    work.pair(made, ranges[made].span(how))


def _sorted(work: _Graph) -> None:
    """Let every taker of a rounded tensor take the rounded one, and order the nodes."""
    for name, rounded in work.rounded.items():
        if name in {value.name for value in work.graph.input}:
            continue
        for taker in work.takers.get(name, []):
            for place, given in enumerate(taker.input):
                if given == name:
                    taker.input[place] = rounded
    known = {value.name for value in work.graph.input} | {
        tensor.name for tensor in work.graph.initializer
    }
    known.add("")
    waiting = [*work.added, *work.graph.node]
    ordered: list[Any] = []
    while waiting:
        later = []
        for node in waiting:
            if all(name in known for name in node.input):
                ordered.append(node)
                known.update(node.output)
            else:
                later.append(node)
        if len(later) == len(waiting):
            raise ValueError(f"the graph has a loop at {waiting[0].name}")
        waiting = later
    _drop_unused(work)
    del work.graph.node[:]
    work.graph.node.extend(ordered)


def _drop_unused(work: _Graph) -> None:
    used = {name for node in [*work.added, *work.graph.node] for name in node.input}
    used |= work.outputs
    kept = [tensor for tensor in work.graph.initializer if tensor.name in used]
    del work.graph.initializer[:]
    work.graph.initializer.extend(kept)
