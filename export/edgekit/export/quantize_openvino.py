"""Int8 for OpenVINO by NNCF: calibrated activations, int8 weights per channel, float ports.

Layers next to the pictures stay float in the recipes that are tried later: they have three
channels, gain no time, and their error goes straight to the output.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from edgekit.core.telemetry import silenced
from edgekit.core.tensors import Batch

silenced()
import nncf  # noqa: E402 - its telemetry has to be switched off first

_FLOAT = ("Add", "AvgPool", "Interpolate", "MatMul", "Multiply", "ReduceMean", "Softmax")

RECIPES = {
    "all": (0, ()),
    "ends-1": (1, ()),
    "convolutions-1": (1, _FLOAT),
    "convolutions-2": (2, _FLOAT),
    "convolutions-3": (3, _FLOAT),
}
"""Name -> how many layers next to each picture stay float, and which operators do everywhere."""
SHIPPED = ("ends-1", "convolutions-1", "convolutions-2", "convolutions-3")
_LAYERS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")


def quantized(
    model: Any, feeds: Sequence[Sequence[Batch]], *, recipe: str, pictures: set[str]
) -> tuple[Any, str]:
    """Return the int8 model of `model` and the recipe in words; `feeds` are in port order."""
    nncf.set_log_level(logging.ERROR)
    depth, operators = RECIPES[recipe]
    names = float_operations(model, depth, pictures)
    made = nncf.quantize(
        model,
        nncf.Dataset([list(feed) for feed in feeds]),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(feeds),
        ignored_scope=nncf.IgnoredScope(names=names, types=_present(model, operators)),
    )
    kept = "layer next to each picture stays" if depth == 1 else f"{depth} layers next to each stay"
    ends = f"; the {kept} float" if depth else ""
    words = "nncf post-training int8 (mixed preset, fast bias correction), weights per channel"
    words += "; of convolutions only" if operators else ""
    return made, f"{words}{ends}; {len(feeds)} calibration samples"


def _present(model: Any, operators: Sequence[str]) -> list[str]:
    """Return those of `operators` that the model has; nncf refuses a scope that matches nothing."""
    held = {operation.get_type_name() for operation in model.get_ordered_ops()}
    return [name for name in operators if name in held]


def float_operations(model: Any, depth: int, pictures: set[str]) -> list[str]:
    """Return the operations at most `depth` layers away from a picture that goes in or out.

    Everything between such a layer and the picture is named too (an addition of the picture
    itself, a last activation), so that no value that is a picture is rounded.
    """
    if not depth:
        return []
    order = [o for o in model.get_ordered_ops() if o.get_type_name() != "Constant"]
    inward = _depths(order, pictures, forward=True)
    outward = _depths(order[::-1], pictures, forward=False)
    skipped = ("Parameter", "Result")
    return [
        name
        for operation in order
        if operation.get_type_name() not in skipped
        for name in [operation.get_friendly_name()]
        if min(inward.get(name, depth + 1), outward.get(name, depth + 1)) <= depth
        and (
            operation.get_type_name() in _LAYERS
            or min(inward.get(name, 1), outward.get(name, 1)) == 0
        )
    ]


def _depths(order: Sequence[Any], pictures: set[str], *, forward: bool) -> dict[str, int]:
    """Return operation -> layers on the shortest way from a picture, itself included."""
    found: dict[str, int] = {}
    for operation in order:
        name = operation.get_friendly_name()
        if operation.get_type_name() == ("Parameter" if forward else "Result"):
            port = operation.output(0) if forward else operation.input(0)
            if set(port.get_tensor().get_names()) & pictures:
                found[name] = 0
            continue
        if forward:
            beside = [value.get_source_output().get_node() for value in operation.inputs()]
        else:
            beside = [
                use.get_node() for out in operation.outputs() for use in out.get_target_inputs()
            ]
        known = [found[n] for n in (node.get_friendly_name() for node in beside) if n in found]
        if known:
            found[name] = min(known) + (operation.get_type_name() in _LAYERS)
    return found
