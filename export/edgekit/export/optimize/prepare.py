"""The program that a search starts from, in a form that every quantizer understands.

A LayerNorm scales its output, and so could the weights behind it; litert-torch moves that scale by
itself, after which the weights in the file are no longer those of the program. Moved here, every
converter starts from the same weights. Transposed convolutions become modules, which coreai-opt
looks for. The outputs do not change.
"""

from __future__ import annotations

from operator import attrgetter

import torch
from torch import fx, nn

from edgekit.export.program import Program

_TRANSPOSED = torch.ops.aten.conv_transpose2d.input
_LAYER_NORM = torch.ops.aten.layer_norm.default


def prepared(program: Program) -> Program:
    """Prepare `program` in place and return it."""
    module = program.module
    _transposed_as_modules(module)
    uses: dict[str, int] = {}
    for node in module.graph.nodes:
        if node.op == "get_attr":
            uses[str(node.target)] = uses.get(str(node.target), 0) + len(node.users)
    for node in module.graph.nodes:
        if node.op == "call_function" and node.target == _LAYER_NORM:
            _moved(module, node, uses)
    return program


def _transposed_as_modules(module: fx.GraphModule) -> None:
    for count, node in enumerate(list(module.graph.nodes)):
        if node.op != "call_function" or node.target != _TRANSPOSED or node.kwargs:
            continue
        weight, bias = [*node.args[1:3], None][:2]
        if not isinstance(weight, fx.Node) or weight.op != "get_attr":
            continue
        if isinstance(bias, fx.Node) and bias.op != "get_attr":
            continue
        value = attrgetter(str(weight.target))(module)
        rest = [*node.args[3:], *[None] * 5][:5]
        stride, padding, extra, groups, dilation = rest
        made = nn.ConvTranspose2d(
            value.shape[0],
            value.shape[1] * int(groups or 1),
            tuple(value.shape[2:]),
            tuple(stride or (1, 1)),
            tuple(padding or (0, 0)),
            tuple(extra or (0, 0)),
            int(groups or 1),
            bias is not None,
            tuple(dilation or (1, 1)),
        )
        made.weight = nn.Parameter(value.detach().clone(), requires_grad=False)
        if isinstance(bias, fx.Node):
            stored = attrgetter(str(bias.target))(module)
            made.bias = nn.Parameter(stored.detach().clone(), requires_grad=False)
        name = f"transposed_{count}"
        module.add_submodule(name, made.eval())
        with module.graph.inserting_after(node):
            call = module.graph.call_module(name, (node.args[0],))
        call.meta = dict(node.meta)
        node.replace_all_uses_with(call)
        module.graph.erase_node(node)
    module.graph.eliminate_dead_code()
    module.delete_all_unused_submodules()
    module.recompile()


def _moved(module: fx.GraphModule, node: fx.Node, uses: dict[str, int]) -> None:
    stored = [*node.args[2:4], None, None][:2]
    if not all(isinstance(x, fx.Node) and x.op == "get_attr" for x in stored):
        return
    names = [str(x.target) for x in stored if isinstance(x, fx.Node)]
    users = [user for user in node.users if user.op == "call_module"]
    layers = [module.get_submodule(str(user.target)) for user in users]
    if len(users) < len(node.users) or any(uses[name] != 1 for name in names):
        return
    if not layers or not all(isinstance(x, nn.Linear) and x.bias is not None for x in layers):
        return
    if len({str(user.target) for user in users}) < len(users):
        return
    scale, shift = (attrgetter(name)(module) for name in names)
    with torch.no_grad():
        for layer in layers:
            assert isinstance(layer, nn.Linear)
            weight = layer.weight.double()
            layer.bias.add_((weight @ shift.double()).float())
            layer.weight.copy_((weight * scale.double()).float())
        scale.fill_(1)
        shift.zero_()
