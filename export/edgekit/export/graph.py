"""Graph surgery on a saved program: folded norms, layers as modules, cuts at a node.

Every converter starts from the same plain graph, so a difference between two targets is a
difference between their converters. What is done here changes no output beyond float rounding.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any, TypeAlias, cast

import torch
from torch import fx, nn
from torch.export import ExportedProgram

Node: TypeAlias = fx.Node

_ATEN = torch.ops.aten
_CONV = _ATEN.conv2d.default
_LINEAR = _ATEN.linear.default
_NORMS = {
    _ATEN.batch_norm.default: 5,
    _ATEN._native_batch_norm_legit_no_training.default: None,
}
"""Normalizations with stored statistics -> position of their `training` argument."""


def plain_graph(program: ExportedProgram) -> fx.GraphModule:
    """Return the program as a module in eval mode with positional tensors in and a tuple out.

    A norm behind a convolution is folded into it, and convolutions and linear layers become
    modules that carry their old path as a name (quantizers look for modules).
    """
    source = program.module()
    graph = copy.deepcopy(source.graph)
    graph.set_codegen(fx.graph.CodeGen())  # no pytrees: flat inputs, flat outputs
    module = fx.GraphModule(source, graph)
    for node in list(graph.nodes):
        if node.op == "call_module":  # torch.export's own checks of the input shapes
            graph.erase_node(node)
    _drop_whole_slices(module)
    _layers_as_modules(module)
    _fold_norms(module)
    _contiguous(module)
    return _tidied(module)


def _contiguous(module: fx.GraphModule) -> None:
    """Store every tensor in plain row order, whatever memory format the student was trained in.

    litert-torch knows a constant by the address of its contiguous copy; a copy that is freed lends
    its address to the next one, and two layers silently share one weight
    (google-ai-edge/litert-torch#1061). A tensor that is contiguous already is never copied.
    """
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = tensor.data.contiguous()


def _drop_whole_slices(module: fx.GraphModule) -> None:
    """Remove slices that take everything; torch turns them into aliases, Core ML knows none."""
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target not in (
            _ATEN.slice.Tensor,
            _ATEN.alias.default,
        ):
            continue
        step = node.args[4] if len(node.args) > 4 else 1
        if step == 1 and node.meta["val"].shape == node.args[0].meta["val"].shape:
            node.replace_all_uses_with(node.args[0])
            module.graph.erase_node(node)


def module_path(node: Node) -> str:
    """Return the path of the module of the original model that `node` came from, "" if unknown."""
    stack = node.meta.get("nn_module_stack") or {}
    paths = [entry[0] for entry in stack.values()]
    return str(paths[-1]) if paths else ""


def described(node: Node) -> str:
    """Name a node for a person: the module path and the operator."""
    if node.op == "call_module":
        operator = str(node.meta.get("operator", "layer"))
    else:
        operator = str(node.target).removeprefix("aten.")
    return f"{module_path(node) or '(top level)'} ({operator}, node {node.name})"


def tensor_nodes(module: fx.GraphModule) -> list[Node]:
    """Return the nodes that compute one float tensor, in the order in which they run."""
    return [
        node
        for node in module.graph.nodes
        if node.op in ("call_function", "call_module")
        and isinstance(node.meta.get("val"), torch.Tensor)
        and node.meta["val"].is_floating_point()
    ]


def live_after(module: fx.GraphModule, at: str) -> list[str]:
    """Return the tensors that are computed up to node `at` and still needed after it, `at` last.

    Raises KeyError if there is no such node.
    """
    order = {node.name: position for position, node in enumerate(module.graph.nodes)}
    here = order[at]
    return [
        node.name
        for node in tensor_nodes(module)
        if order[node.name] < here and any(order[user.name] > here for user in node.users)
    ] + [at]


def cut(module: fx.GraphModule, at: Sequence[str]) -> fx.GraphModule:
    """Return the part of `module` that computes the nodes `at`, which become its outputs.

    Inputs that the part does not need are dropped. Raises KeyError if there is no such node.
    """
    graph = copy.deepcopy(module.graph)
    nodes = {node.name: node for node in graph.nodes}
    output = next(node for node in graph.nodes if node.op == "output")
    output.args = (tuple(nodes[name] for name in at),)
    part = fx.GraphModule(module, graph)
    _tidied(part)
    for node in list(graph.nodes):
        if node.op == "placeholder" and not node.users:
            graph.erase_node(node)
    part.recompile()
    return part


def placeholders(module: fx.GraphModule) -> list[Node]:
    """Return the input nodes of a plain graph in order."""
    return [node for node in module.graph.nodes if node.op == "placeholder"]


def outputs(module: fx.GraphModule) -> list[Node]:
    """Return the nodes that a plain graph returns, in order."""
    node = next(node for node in module.graph.nodes if node.op == "output")
    return list(node.args[0])


def _tidied(module: fx.GraphModule) -> fx.GraphModule:
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.graph.lint()
    module.recompile()
    return module.eval()


def _stored(module: fx.GraphModule, argument: Any) -> torch.Tensor | None:
    """Return the tensor of a `get_attr` argument; None if it is computed."""
    if not isinstance(argument, fx.Node) or argument.op != "get_attr":
        return None
    return cast(torch.Tensor, attrgetter(str(argument.target))(module)).detach()


def _layers_as_modules(module: fx.GraphModule) -> None:
    names = _unique_names(module)
    for node in list(module.graph.nodes):
        made = _layer(module, node)
        if made is None:
            continue
        name = next(names)(module_path(node))
        module.add_submodule(name, made)
        with module.graph.inserting_after(node):
            call = module.graph.call_module(name, (node.args[0],))
        call.meta = {**node.meta, "operator": str(node.target).removeprefix("aten.")}
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)


def _unique_names(module: fx.GraphModule) -> Iterator[Any]:
    taken = {name for name, _ in module.named_children()}

    def unique(path: str) -> str:
        stem = "layer_" + (path.replace(".", "_") or "top")
        name, count = stem, 1
        while name in taken:
            count += 1
            name = f"{stem}_{count}"
        taken.add(name)
        return name

    while True:
        yield unique


def _layer(module: fx.GraphModule, node: Node) -> nn.Module | None:
    if node.op != "call_function" or node.target not in (_CONV, _LINEAR) or node.kwargs:
        return None
    weight = _stored(module, node.args[1])
    has_bias = len(node.args) > 2 and node.args[2] is not None
    bias = _stored(module, node.args[2]) if has_bias else None
    if weight is None or (has_bias and bias is None):
        return None
    made: nn.Module
    if node.target == _LINEAR:
        made = nn.Linear(weight.shape[1], weight.shape[0], bias=has_bias)
    else:
        stride, padding, dilation, groups = _conv_arguments(node)
        made = nn.Conv2d(
            weight.shape[1] * groups,
            weight.shape[0],
            tuple(weight.shape[2:]),  # type: ignore[arg-type]
            stride,
            padding,
            dilation,
            groups,
            bias=has_bias,
        )
    made.weight = nn.Parameter(weight.clone(), requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.clone(), requires_grad=False)
    return made.eval()


def _conv_arguments(node: Node) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], int]:
    given = list(node.args[3:]) + [None] * 4
    stride, padding, dilation = (
        _pair(value, default) for value, default in zip(given[:3], (1, 0, 1), strict=True)
    )
    return stride, padding, dilation, cast(int, given[3]) if given[3] is not None else 1


def _pair(value: Any, default: int) -> tuple[int, int]:
    values = [default] if value is None else list(value)
    return (int(values[0]), int(values[-1]))


def _fold_norms(module: fx.GraphModule) -> None:
    """Fold each batch norm whose input is a convolution that feeds nothing else."""
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target not in _NORMS:
            continue
        before = node.args[0]
        conv = _conv_of(module, before)
        if conv is None or len(before.users) != 1 or _trains(node):
            continue
        gamma, beta, mean, variance = (_stored(module, value) for value in node.args[1:5])
        if mean is None or variance is None:
            continue
        epsilon = float(node.args[7] if node.target == _ATEN.batch_norm.default else node.args[6])
        _fold(conv, gamma, beta, mean, variance, epsilon)
        users = [node]
        if node.target != _ATEN.batch_norm.default:  # this form returns a tuple
            users = [user for user in node.users if user.args[1] == 0]
        for user in users:
            user.replace_all_uses_with(before)
        before.meta = {**before.meta, "val": users[0].meta.get("val")}


def _conv_of(module: fx.GraphModule, node: Any) -> nn.Conv2d | None:
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    found = module.get_submodule(str(node.target))
    return found if isinstance(found, nn.Conv2d) else None


def _trains(node: Node) -> bool:
    position = _NORMS[node.target]  # type: ignore[index]
    return position is not None and bool(node.args[position])


def _fold(
    conv: nn.Conv2d,
    gamma: torch.Tensor | None,
    beta: torch.Tensor | None,
    mean: torch.Tensor,
    variance: torch.Tensor,
    epsilon: float,
) -> None:
    """Fold in double precision: the rounding of the statistics must not add to the parity error."""
    scale = torch.rsqrt(variance.double() + epsilon)
    if gamma is not None:
        scale = scale * gamma.double()
    bias = conv.bias.double() if conv.bias is not None else torch.zeros_like(mean).double()
    shift = (bias - mean.double()) * scale
    if beta is not None:
        shift = shift + beta.double()
    weight = conv.weight.double() * scale.reshape(-1, 1, 1, 1)
    conv.weight = nn.Parameter(weight.float(), requires_grad=False)
    conv.bias = nn.Parameter(shift.float(), requires_grad=False)
