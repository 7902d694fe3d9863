"""Combinations that are known to be wrong, with the reason and the thread where it was reported.

A rule applies to a choice of a layer in a format. What a rule refuses is never tried by the search;
`edgekit optimize --rules` prints the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from edgekit.export.optimize.layers import Layer

MEASURED = "measured here, docs/optimize.md"


@dataclass(frozen=True, slots=True)
class Rule:
    """One refusal."""

    name: str
    formats: tuple[str, ...]
    choices: tuple[str, ...]
    """Choices of a layer that are refused; empty where a whole back end is."""
    kinds: tuple[str, ...]
    """Kinds of layers that it is about: conv, depthwise, linear, transposed; empty for all."""
    reason: str
    source: str

    def values(self) -> dict[str, object]:
        """Return the rule as JSON has it."""
        return asdict(self)


RULES: tuple[Rule, ...] = (
    Rule(
        "ane-linear-4",
        ("mlpackage", "aimodel"),
        ("w4", "block4"),
        (),
        "4-bit linear weights give wrong pictures or crash on the Neural Engine and lose 27 dB "
        "against a palette of the same size; use a palette",
        "apple/coremltools #2716 #2688 #2269 #2410, apple/coreai-models #279",
    ),
    Rule(
        "ane-block-8",
        ("mlpackage", "aimodel"),
        ("block8",),
        (),
        "int8 by blocks of weights falls back or is computed wrongly on the Neural Engine; "
        "use int8 by output channel",
        "apple/coremltools #2716, apple/coreai-models #279",
    ),
    Rule(
        "coreai-3-bit",
        ("aimodel",),
        ("p3", "p3g"),
        (),
        "coreai-torch 0.4.3 stores indices of 1, 2, 4, 6 or 8 bits and ends with an error at 3",
        MEASURED,
    ),
    Rule(
        "cpu-int16-activations",
        ("onnx", "tflite", "openvino"),
        ("w8a16",),
        (),
        "int16 activations have no fast kernel on CPUs: 16 times slower than float32",
        MEASURED,
    ),
    Rule(
        "onnx-dynamic",
        ("onnx",),
        ("d8",),
        ("conv", "depthwise", "transposed"),
        "ConvInteger is 7 times slower than a float convolution in ONNX Runtime",
        "microsoft/onnxruntime #5319 #24374",
    ),
    Rule(
        "litert-dynamic-depthwise",
        ("tflite",),
        ("d8",),
        ("depthwise",),
        "a depthwise convolution with dynamic int8 leaves XNNPACK: 2 to 4 times slower than float",
        MEASURED,
    ),
    Rule(
        "litert-4-bit",
        ("tflite",),
        ("w4", "d4"),
        ("conv", "depthwise", "transposed"),
        "4-bit convolutions have no XNNPACK kernel, transposed ones no 4-bit form at all: the file "
        "is 3 times slower, less exact and larger than int8",
        MEASURED,
    ),
    Rule(
        "onnx-static-transposed",
        ("onnx",),
        ("w8a8",),
        ("transposed",),
        "ONNX Runtime has no int8 ConvTranspose: the result is rounded and computed in float "
        "(30 dB, no gain); store the weights in int8 instead",
        MEASURED,
    ),
    Rule(
        "onnx-static-norm",
        ("onnx",),
        (),
        ("norm",),
        "values that leave InstanceNormalization or enter it alone are not rounded by themselves: "
        "that costs 15 dB (27.5 dB left) and no int8 kernel gains from it",
        MEASURED,
    ),
    Rule(
        "onnx-dequantize-stored",
        ("onnx",),
        (),
        (),
        "weights that are only stored in int8 stand behind Cast and Mul, never DequantizeLinear, "
        "which ONNX Runtime does not fold: 1.3 times slower than float32",
        MEASURED,
    ),
    Rule(
        "tensorrt-block",
        ("trt", "engine"),
        ("w8", "w4"),
        (),
        "TensorRT folds weight-only int8 back to float when it builds: nothing becomes smaller",
        "NVIDIA/TensorRT #4273, NVIDIA/Model-Optimizer #80",
    ),
)


def kind_of(layer: Layer) -> str:
    """Return the kind of a layer as the rules name it."""
    return "depthwise" if layer.depthwise else layer.kind


def refusal(form: str, layer: Layer, choice: str) -> Rule | None:
    """Return the rule that refuses a choice, None if none does."""
    for rule in RULES:
        fits = not rule.kinds or kind_of(layer) in rule.kinds
        if form in rule.formats and choice in rule.choices and fits:
            return rule
    return None


def allowed(form: str, layer: Layer, choices: Iterable[str]) -> tuple[str, ...]:
    """Return the choices that no rule refuses."""
    return tuple(choice for choice in choices if refusal(form, layer, choice) is None)


def table(rules: Sequence[Rule] = RULES) -> str:
    """Return the rules as a Markdown table."""
    lines = ["| rule | files | refused | layers | why | source |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {rule.name} | {', '.join(rule.formats)} | {', '.join(rule.choices) or 'see why'} "
        f"| {', '.join(rule.kinds) or 'all'} | {rule.reason} | {rule.source} |"
        for rule in rules
    ]
    return "\n".join(lines)
