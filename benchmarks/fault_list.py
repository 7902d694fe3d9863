"""The fifty faults: which student, which file, and what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import fault_kinds as k
from edgekit.core.manifest import Format
from edgekit.core.seams import Precision
from fault_kinds import ATEN


@dataclass(frozen=True)
class Fault:
    """One fault: in the graph that a converter is given, or in the file that it wrote."""

    name: str
    student: Literal["restorer", "base"]
    form: Format
    precision: Precision
    graph: k.Mutate | None = None
    file: k.Damage | None = None


def _graph(name: str, form: Format, mutate: k.Mutate, precision: Precision = "fp32") -> Fault:
    return Fault(name, "restorer", form, precision, graph=mutate)


def _file(name: str, form: Format, precision: Precision, damage: k.Damage) -> Fault:
    return Fault(name, "restorer", form, precision, file=damage)


def _base(name: str, form: Format, precision: Precision, damage: k.Damage) -> Fault:
    return Fault(name, "base", form, precision, file=damage)


_FIVE = k.scaled(1.05)
_UP = ATEN.upsample_bilinear2d.vec
_TURNED = k.applied(ATEN.transpose.int, 2, 3)
_BGR = k.applied(ATEN.flip.default, [1])
FAULTS: tuple[Fault, ...] = (
    # one layer's weights 5 % too large
    _graph("weight x1.05: middle", "onnx", k.parameter("middle.weight", _FIVE)),
    _graph("weight x1.05: key", "tflite", k.parameter("key.weight", _FIVE)),
    _graph("weight x1.05: query", "mlpackage", k.parameter("query.weight", _FIVE)),
    _graph("weight x1.05: late", "aimodel", k.parameter("late.weight", _FIVE)),
    _graph("weight x1.05: value", "pte", k.parameter("value.weight", _FIVE)),
    _graph("weight x1.05: mixed", "openvino", k.parameter("mixed.weight", _FIVE)),
    _file("weight x1.05: down", "onnx", "fp16", k.onnx_weight("down.weight", _FIVE)),
    _file("weight x1.05", "tflite", "fp16", k.tflite_tensor(_FIVE, which=3)),
    _file("weight x1.05", "mlpackage", "fp16", k.mlpackage_blob(_FIVE, kind="weight", which=2)),
    _file("scale x1.05: key", "onnx", "int8", k.onnx_scale("key.weight", 1.05, weights=True)),
    _file("scale x1.05", "tflite", "int8", k.tflite_scale(1.05, which=2)),
    _file("scale x1.05", "mlpackage", "int8", k.mlpackage_blob(_FIVE, kind="scale", which=1)),
    _base("weight x1.05, deep", "onnx", "fp16", k.onnx_weight("own_key_conv.weight", _FIVE)),
    _base(
        "weight x1.05, deep", "mlpackage", "fp16", k.mlpackage_blob(_FIVE, kind="weight", which=4)
    ),
    _base(
        "bias scale x1.05, deep",
        "onnx",
        "int8",
        k.onnx_scale("residual2_first_conv", 1.05, weights=True),
    ),
    _base("scale x1.05, deep", "mlpackage", "int8", k.mlpackage_blob(_FIVE, kind="scale", which=3)),
    # channels, biases, kernels
    _graph("outputs swapped: down", "onnx", k.parameter("down.weight", k.swapped(0))),
    _graph("inputs swapped: middle", "mlpackage", k.parameter("middle.weight", k.swapped(1, 3, 7))),
    _file("outputs swapped", "tflite", "int8", k.tflite_tensor(k.swapped(0), which=1)),
    _file(
        "outputs swapped: value", "onnx", "int8", k.onnx_weight("value.weight", k.swapped(0, 2, 9))
    ),
    _graph("bias dropped: late", "onnx", k.parameter("late.bias", k.nothing)),
    _graph("bias dropped: guide", "tflite", k.parameter("guide.bias", k.nothing)),
    _graph("bias dropped: query", "aimodel", k.parameter("query.bias", k.nothing)),
    _file("bias dropped: middle", "onnx", "int8", k.onnx_weight("middle.bias", k.nothing)),
    _graph("bias dropped: mixed", "mlpackage", k.parameter("mixed.bias", k.nothing), "fp16"),
    _graph("kernel flipped: middle", "openvino", k.parameter("middle.weight", k.flipped)),
    _file("outputs stored one off", "tflite", "fp16", k.tflite_tensor(k.rolled, which=2)),
    # padding, norms
    _graph("padding on one side: stem", "onnx", k.shifted_padding("stem")),
    _graph("padding on one side: late", "tflite", k.shifted_padding("late")),
    _graph("padding on one side: middle", "pte", k.shifted_padding("middle")),
    _graph(
        "epsilon 1e-3 of an instance norm",
        "onnx",
        k.operator(ATEN.instance_norm.default, k.argument(7, 1e-3)),
    ),
    _graph(
        "epsilon 1e-3 of a layer norm",
        "mlpackage",
        k.operator(ATEN.layer_norm.default, k.argument(4, 1e-3)),
    ),
    _graph(
        "groups of a group norm: 8 for 4",
        "tflite",
        k.operator(ATEN.group_norm.default, k.argument(1, 8)),
    ),
    _graph(
        "group norm for an instance norm",
        "aimodel",
        k.operator(
            ATEN.instance_norm.default,
            lambda graph, node: graph.call_function(
                ATEN.group_norm.default, (node.args[0], 1, node.args[1], node.args[2], 1e-5)
            ),
        ),
    ),
    # layout and ports
    _graph(
        "rows and columns exchanged",
        "mlpackage",
        k.port("image", k.applied(ATEN.transpose.int, 2, 3)),
    ),
    _graph("inputs swapped", "onnx", k.swapped_inputs("image", "reference")),
    _graph("inputs swapped", "pte", k.swapped_inputs("image", "reference")),
    _graph("one pixel off", "tflite", k.port("image", k.applied(ATEN.roll.default, [1], [3]))),
    _graph("blue for red at the input", "mlpackage", k.port("reference", _BGR)),
    _graph("blue for red at the input", "openvino", k.port("image", _BGR)),
    # operators
    _graph(
        "leaky ReLU of 0.01 for a ReLU",
        "onnx",
        k.operator(ATEN.relu.default, k.other(ATEN.leaky_relu.default, 0.01), 1),
    ),
    _graph("ReLU for GELU", "tflite", k.operator(ATEN.gelu.default, k.other(ATEN.relu.default))),
    _graph("sine for tanh", "aimodel", k.operator(ATEN.tanh.default, k.other(ATEN.sin.default))),
    _graph("SiLU for GELU", "openvino", k.operator(ATEN.gelu.default, k.other(ATEN.silu.default))),
    _graph("corners aligned", "onnx", k.operator(_UP, k.argument(2, True))),
    _graph(
        "attention without its scale",
        "pte",
        k.operator(ATEN.scaled_dot_product_attention.default, k.keyword("scale", 1.0)),
    ),
    # weights and ranges of another time
    _graph("weights of another student", "onnx", k.every_parameter(k.stale(7))),
    _graph("one layer of another student: key", "tflite", k.parameter("key.weight", k.stale(8))),
    _file(
        "an activation's range cut to half",
        "onnx",
        "int8",
        k.onnx_scale("add_1_scale", 0.5, weights=False),
    ),
    _file("one channel's scale doubled", "tflite", "int8", k.tflite_scale(2.0, which=3, channel=5)),
)
