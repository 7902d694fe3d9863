"""Walk a student's graph and say for each operator and module which units would run it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import fx

from edgekit.core.errors import QualityFailed, unknown_name
from edgekit.core.manifest import Format
from edgekit.core.seams import Precision
from edgekit.export.graph import module_path
from edgekit.export.placement.tables import Unit, operators_for, units_of
from edgekit.export.program import Program
from edgekit.export.rewrites import rewritten_for
from edgekit.export.targets import FORMATS

UNKNOWN = "edgekit does not know how the format writes this operator"
DEPTHWISE = "depthwise"
COMPUTED = "its weights are computed, they must be stored"
MODULE_STORED = ("npu", "xnnpack")
"""Units whose convolutions take stored weights only."""
ADVICE = {
    "grid_sampler": "read planes on a lattice and broadcast instead of sampling at computed places",
    "conv_transpose2d": "convolve, then resize by nearest neighbor: fewer operators, better int8",
    "upsample_bicubic2d": "resize bilinearly",
    "reflection_pad2d": "pad with zeros inside the convolution",
    "replication_pad2d": "pad with zeros inside the convolution",
    "erf": "use gelu, which the formats have as one operator",
    "cumsum": "multiply with a triangular matrix",
    "index": "split and concatenate, or reshape",
    "gather": "split and concatenate, or reshape",
    "embedding": "look the row up before the model and pass it as an input",
    "conv2d": "scale the activations before and after a convolution of fixed weights",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """An operator that a unit does not run."""

    unit: str
    path: str
    """Module path in the student, as PyTorch names it."""
    operator: str
    reason: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """What became of a student's operators in one format."""

    form: Format
    target: str
    precision: Precision
    operators: int
    """Operators of the student after the format's rewrites, without those that leave nothing."""
    runs: dict[str, int]
    """Unit -> how many of them it runs."""
    refused: tuple[Refusal, ...]
    rewrites: str
    sources: dict[str, tuple[str, ...]]

    def values(self) -> dict[str, Any]:
        """Return a JSON value."""
        return asdict(self)


def check(
    program: Program, forms: Sequence[Format], *, precision: Precision | None = None
) -> list[Placement]:
    """Return the placement of `program` in each format.

    Without `precision` it is fp16, in which phones' units compute. Nothing is converted: the
    answer follows from the published tables, and it is as good as they are.
    """
    return [_placed(program, form, precision or "fp16") for form in forms]


def _placed(program: Program, form: Format, precision: Precision) -> Placement:
    rewritten, words = rewritten_for(form, program)
    units = units_of(form)
    runs: Counter[str] = Counter({unit.unit: 0 for unit in units})
    refused: list[Refusal] = []
    total = 0
    for node in rewritten.module.graph.nodes:
        if node.op not in ("call_function", "call_module"):
            continue
        operator = operator_of(rewritten.module, node)
        written = operators_for(form, operator)
        if operator == "getitem" or written == ():
            continue
        total += 1
        for unit in units:
            reason = _reason_against(unit, node, operator, written, precision)
            if reason is None:
                runs[unit.unit] += 1
            else:
                advice = ADVICE.get(operator, "") if reason != HALF else ""
                path = module_path(node) or "(top level)"
                refused.append(Refusal(unit.unit, path, operator, reason, advice))
    return Placement(
        form,
        FORMATS[form].target,
        precision,
        total,
        dict(runs),
        tuple(refused),
        words.removeprefix("; "),
        {unit.unit: unit.source for unit in units},
    )


HALF = "computes in float16; export fp16 or int8"


def _reason_against(
    unit: Unit,
    node: fx.Node,
    operator: str,
    written: tuple[str, ...] | None,
    precision: Precision,
) -> str | None:
    if unit.half_only and precision == "fp32":
        return HALF
    everything = unit.runs is None and not unit.refuses
    if written is None:
        return None if everything else UNKNOWN
    reasons = (unit.reason_against(name) for name in written)
    reason = next((reason for reason in reasons if reason is not None), None)
    if reason is not None:
        return reason
    rank = max((value.ndim for value in _tensors(node)), default=0)
    if unit.max_rank is not None and rank > unit.max_rank:
        return f"tensors of {rank} dimensions, more than {unit.max_rank}"
    convolves = operator in ("conv2d", DEPTHWISE, "conv_transpose2d")
    if convolves and node.op == "call_function" and unit.unit in MODULE_STORED:
        weight = node.args[1]
        if isinstance(weight, fx.Node) and weight.op != "get_attr":
            return COMPUTED
    return None


def operator_of(module: fx.GraphModule, node: fx.Node) -> str:
    """Return the operator of a node without its overload; depthwise convolutions by their own name.

    A layer that became a module counts as the operator that it was made of.
    """
    if node.op == "call_module":
        layer = module.get_submodule(str(node.target))
        if isinstance(layer, torch.nn.Conv2d) and 1 < layer.groups == layer.in_channels:
            return DEPTHWISE
        name = str(node.meta.get("operator", type(layer).__name__.lower()))
    else:
        name = getattr(node.target, "__name__", str(node.target))
        name = str(node.target) if "." in str(node.target) else name
    return name.removeprefix("aten.").split(".")[0]


def _tensors(node: fx.Node) -> list[torch.Tensor]:
    values = [node.meta.get("val"), *(value.meta.get("val") for value in node.all_input_nodes)]
    return [value for value in values if isinstance(value, torch.Tensor)]


def require(placements: Sequence[Placement], unit: str) -> None:
    """Raise QualityFailed, naming the first operators, unless `unit` runs everything.

    Formats without such a unit are left out; EdgekitError if no format has it.
    """
    having = [placement for placement in placements if unit in placement.runs]
    if not having:
        known = sorted({name for placement in placements for name in placement.runs})
        raise unknown_name("unit", unit, known)
    for placement in having:
        missing = [refusal for refusal in placement.refused if refusal.unit == unit]
        if missing:
            first = "; ".join(
                f"{refusal.path} ({refusal.operator}): {refusal.reason}" for refusal in missing[:3]
            )
            more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
            advice = next((refusal.advice for refusal in missing if refusal.advice), "")
            raise QualityFailed(
                f"{placement.target} {placement.form}: {len(missing)} of {placement.operators} "
                f"operators do not run on the {unit}: {first}{more}",
                hint=advice or "change these layers, or leave --require out",
            )
