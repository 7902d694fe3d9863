"""Graph rewrites that change no output: what a target is bad at, said in words that it is good at.

Each rewrite has a name, which the recipe of a file repeats. `FOR` says which target gets which; a
rewrite is left out where the target has an operator of its own for it. GELU's tanh form is no
rewrite here: it differs from the exact one by up to 5e-4, so it would be another network.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import torch
from torch import fx

from edgekit.core.errors import unknown_name
from edgekit.core.manifest import Format
from edgekit.export.program import Program
from edgekit.export.rewrites.activations import (
    fused_gelu,
    written_out_elu,
    written_out_tanh_gelu,
)
from edgekit.export.rewrites.attention import written_out_attention
from edgekit.export.rewrites.kernels import computed_kernel_by_products, linear_by_convolution
from edgekit.export.rewrites.norms import (
    group_norm_by_instances,
    instance_norm_by_moments,
    plain_group_norm_by_instances,
    rms_norm_by_layer_norm,
    variance_by_means,
)
from edgekit.export.rewrites.pools import (
    average_pool_by_count,
    channel_average_by_sums,
    explicit_pool_stride,
)
from edgekit.export.rewrites.resizing import nearest_exact_as_nearest, resize_by_products
from edgekit.export.rewrites.transposed import (
    transposed_by_pixel_shuffle,
    transposed_without_border,
)

Rewrite: TypeAlias = Callable[[fx.GraphModule, fx.Node], fx.Node | None]
"""Puts nodes before one node and returns what replaces it, None if it is nothing for this one."""

REWRITES: dict[str, Rewrite] = {
    "group_norm_by_instances": group_norm_by_instances,
    "plain_group_norm_by_instances": plain_group_norm_by_instances,
    "instance_norm_by_moments": instance_norm_by_moments,
    "rms_norm_by_layer_norm": rms_norm_by_layer_norm,
    "written_out_attention": written_out_attention,
    "fused_gelu": fused_gelu,
    "written_out_tanh_gelu": written_out_tanh_gelu,
    "written_out_elu": written_out_elu,
    "variance_by_means": variance_by_means,
    "average_pool_by_count": average_pool_by_count,
    "channel_average_by_sums": channel_average_by_sums,
    "computed_kernel_by_products": computed_kernel_by_products,
    "linear_by_convolution": linear_by_convolution,
    "explicit_pool_stride": explicit_pool_stride,
    "nearest_exact_as_nearest": nearest_exact_as_nearest,
    "resize_by_products": resize_by_products,
    "transposed_by_pixel_shuffle": transposed_by_pixel_shuffle,
    "transposed_without_border": transposed_without_border,
}
_RESIZES = ("nearest_exact_as_nearest", "resize_by_products")
FOR: dict[Format, tuple[str, ...]] = {
    "onnx": ("fused_gelu",),
    "tflite": (
        "written_out_attention",
        "fused_gelu",
        "computed_kernel_by_products",
        "transposed_without_border",
        *_RESIZES,
    ),
    "mlpackage": (
        "group_norm_by_instances",
        "rms_norm_by_layer_norm",
        "fused_gelu",
        "written_out_tanh_gelu",
        "explicit_pool_stride",
        *_RESIZES,
    ),
    "aimodel": (
        "written_out_elu",
        "variance_by_means",
        "average_pool_by_count",
        *_RESIZES,
    ),
    "pte": (
        "group_norm_by_instances",
        "instance_norm_by_moments",
        "written_out_attention",
        "written_out_tanh_gelu",
        "channel_average_by_sums",
        *_RESIZES,
    ),
    "openvino": ("plain_group_norm_by_instances",),
}
"""Format -> the rewrites that its programs get, in this order."""
HALF: dict[Format, tuple[str, ...]] = {"aimodel": ("linear_by_convolution",)}
"""What fp16 files of a format get besides."""


def rewritten_for(form: Format, program: Program, *, half: bool = False) -> tuple[Program, str]:
    """Return `program` as files of `form` are best made from it, and what to add to the recipe.

    `half` is for fp16 files, whose sums may be rounded on the way.
    """
    more = HALF.get(form, ()) if half else ()
    made, counts = rewritten(program, (*FOR.get(form, ()), *more))
    said = ", ".join(f"{name} ({count})" for name, count in counts.items())
    return made, f"; rewritten: {said}" if said else ""


def rewritten(program: Program, names: Sequence[str]) -> tuple[Program, dict[str, int]]:
    """Return `program` with the rewrites `names` done, and how often each was.

    Raises EdgekitError for a name that is none.
    """
    for name in names:
        if name not in REWRITES:
            raise unknown_name("rewrite", name, REWRITES)
    module = copy.deepcopy(program.module)
    counts: Counter[str] = Counter()
    for name in names:
        for node in list(module.graph.nodes):
            with module.graph.inserting_before(node):
                made = REWRITES[name](module, node)
            if made is not None:
                for new in _between(module, made, node):
                    new.meta.setdefault("nn_module_stack", node.meta.get("nn_module_stack"))
                node.replace_all_uses_with(made)
                module.graph.erase_node(node)
                counts[name] += 1
        if counts[name]:  # the next one asks for the shapes of what is new
            module.graph.eliminate_dead_code()
            module.graph.lint()
            module.recompile()
            _Shapes(module).run(*(torch.zeros(port.shape) for port in program.inputs))
    counts = +counts
    if not counts:
        return program, {}
    return replace(program, module=module), dict(counts)


def _between(module: fx.GraphModule, made: fx.Node, node: fx.Node) -> list[fx.Node]:
    """Return the nodes that lie before `node` and were made for it: those that know no shape."""
    return [other for other in module.graph.nodes if "val" not in other.meta]


class _Shapes(fx.Interpreter):
    """Runs a graph once and notes the shape of what is new in it."""

    def run_node(self, n: fx.Node) -> Any:
        with torch.no_grad():
            value = super().run_node(n)
        if "val" not in n.meta and isinstance(value, torch.Tensor):
            n.meta["val"] = value.detach()
        return value
