"""Quantization-aware fine-tuning: low-rank factors and biases learn to make up for a recipe.

Every forward pass rounds as the file will: weights to their grid, and where a layer is computed in
int8 also what goes in and comes out. Gradients pass through the rounding as if it were not there.
What is trained is an adapter (factors of a small rank beside each weight) and the biases; the base
weights stay. The target is the float32 student itself on the calibration pictures and their mirror
images, so neither a teacher nor pairs are needed.

Source: Jacob et al. 2018 (arXiv:1712.05877), section 3; factors as in Hu et al. 2021
(arXiv:2106.09685); they start from the weights that GPTQ rounded, so nothing is lost at step 0.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from edgekit.core.progress import Report, silent
from edgekit.export.optimize.layers import Layer, layers_of, rows, weight_of
from edgekit.export.optimize.plan import GRIDS
from edgekit.export.optimize.rounding import Grid, Rounding
from edgekit.export.program import Feed, Program, run

RANK = 8
STEPS = 200
LR_FACTORS, LR_BIASES = 3e-4, 1e-4
COMPUTED_IN_INT8 = ("w8a8", "d8", "s8", "i8")
ROUNDED_RESULT = ("w8a8", "s8")


@dataclass(frozen=True, slots=True)
class Tuned:
    """A program whose weights lie on the grids of a plan already."""

    program: Program
    before: float
    """Mean squared error over the calibration pictures at step 0, with rounding emulated."""
    after: float
    steps: int


class _Rounding(torch.autograd.Function):
    """The first input forward, the second input's gradient."""

    @staticmethod
    def forward(ctx: Any, rounded: Tensor, smooth: Tensor) -> Tensor:
        return rounded

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return None, grads[0]


class _Adapted(nn.Module):
    """One layer with factors beside its weight, rounded in every forward pass."""

    def __init__(
        self, inner: nn.Module, layer: Layer, choice: str, start: Tensor, rank: int
    ) -> None:
        super().__init__()
        self.inner, self.layer, self.choice = inner, layer, choice
        self.register_buffer("start", start)
        outputs, width = layer.shape[layer.out_axis], start.numel() // layer.shape[layer.out_axis]
        generator = torch.Generator().manual_seed(0)
        self.down = nn.Parameter(torch.randn(rank, width, generator=generator) / width**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        bias = cast(Tensor | None, inner.bias)
        bias = torch.zeros(outputs) if bias is None else bias
        self.bias = nn.Parameter(bias.detach().clone())
        self.grid = GRIDS.get(choice)
        flat = rows(start, layer).flatten(0, 1)
        if self.grid is not None and self.grid.kind == "linear":
            top = 2 ** (self.grid.bits - 1) - 1
            self.register_buffer("scale", flat.abs().amax(1, keepdim=True).clamp_min(1e-12) / top)
            # A converter reads the scale off the largest weight of a row, which therefore stays.
            self.register_buffer("fixed", flat.abs() >= flat.abs().amax(1, keepdim=True) * 0.9999)

    def weight(self) -> Tensor:
        """Return the weight as rows, on its grid."""
        flat = rows(self.start, self.layer).flatten(0, 1)  # type: ignore[arg-type]
        smooth = flat + self.up @ self.down
        if self.grid is None:
            return smooth
        with torch.no_grad():
            made = _on_grid(smooth, flat, self.grid, getattr(self, "scale", None))
            if self.grid.kind == "linear":
                made = torch.where(self.fixed, flat, made)  # type: ignore[arg-type]
        found: Tensor = _Rounding.apply(made, smooth)  # type: ignore[no-untyped-call]
        return found

    def stored(self) -> Tensor:
        """Return the weight in its own shape."""
        from edgekit.export.optimize.layers import from_rows

        flat = self.weight()
        return from_rows(flat.reshape(self.layer.groups, -1, flat.shape[1]), self.layer)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer as the file will."""
        if self.choice in COMPUTED_IN_INT8:
            x = stepped(x)
        weight, inner = self.stored(), self.inner
        if isinstance(inner, nn.Linear):
            made = F.linear(x, weight, self.bias)
        elif isinstance(inner, nn.ConvTranspose2d):
            made = F.conv_transpose2d(
                x, weight, self.bias, inner.stride, inner.padding, inner.output_padding  # type: ignore[arg-type]
            )  # fmt: skip
        else:
            assert isinstance(inner, nn.Conv2d)
            made = F.conv2d(
                x, weight, self.bias, inner.stride, inner.padding, inner.dilation, inner.groups
            )  # fmt: skip
        return stepped(made) if self.choice in ROUNDED_RESULT else made


def _on_grid(smooth: Tensor, start: Tensor, grid: Grid, scale: Tensor | None) -> Tensor:
    if grid.kind == "linear":
        assert scale is not None
        top = 2 ** (grid.bits - 1) - 1
        return (smooth / scale).round().clamp(-top, top) * scale
    size = grid.group or len(start)
    parts = []
    for now, first in zip(torch.split(smooth, size), torch.split(start, size), strict=True):
        values = torch.unique(first)
        parts.append(values[torch.bucketize(now.contiguous(), (values[1:] + values[:-1]) / 2)])
    return torch.cat(parts)


def stepped(x: Tensor) -> Tensor:
    """Return `x` with 256 steps over its range."""
    with torch.no_grad():
        low, high = x.min().clamp(max=0), x.max().clamp(min=0)
        step = ((high - low) / 255).clamp_min(1e-12)
        made = ((x - low) / step).round() * step + low
    found: Tensor = _Rounding.apply(made, x)  # type: ignore[no-untyped-call]
    return found


def tuned(
    program: Program,
    choices: Mapping[str, str],
    feeds: Sequence[Feed],
    *,
    steps: int = STEPS,
    rank: int = RANK,
    seed: int = 0,
    report: Report = silent,
) -> Tuned:
    """Fine-tune a copy of `program` to the choice of each layer and return it.

    The weights of the result lie on their grids: a converter that rounds to nearest changes
    nothing. Layers that `choices` does not name stay as they are.
    """
    module = copy.deepcopy(program.module)
    work = replace(program, module=module)
    rounding = Rounding(program, feeds)
    adapted: dict[str, _Adapted] = {}
    for layer in layers_of(work):
        choice = choices.get(layer.name)
        node = next(n for n in module.graph.nodes if n.name == layer.node)
        if choice is None or node.op != "call_module" or layer.groups != 1:
            continue
        start = weight_of(program, layer)
        if choice in GRIDS:
            start = rounding.rounded(layer, GRIDS[choice]).weight
        inner = module.get_submodule(str(node.target))
        adapted[layer.name] = _Adapted(inner, layer, choice, start.clone(), rank)
    if not adapted:
        raise ValueError("the program has no layer that could be tuned")
    owners = {str(_node(module, a.layer).target): a for a in adapted.values()}
    pictures = [*feeds, *(_mirrored(program, feed) for feed in feeds)]
    references = [run(program, feed) for feed in pictures]
    runner = _Runner(module, owners)
    optimizer = torch.optim.Adam(
        [
            {"params": [p for a in adapted.values() for p in (a.up, a.down)], "lr": LR_FACTORS},
            {"params": [a.bias for a in adapted.values()], "lr": LR_BIASES},
        ]
    )
    order = torch.Generator().manual_seed(seed)
    before = _mean_error(runner, program, feeds, references)
    best, kept = before, _state(adapted)
    for step in range(steps):
        for group, rate in zip(optimizer.param_groups, (LR_FACTORS, LR_BIASES), strict=True):
            group["lr"] = rate * (1 - step / steps)
        place = int(torch.randint(len(pictures), (1,), generator=order))
        loss = _error(runner, program, pictures[place], references[place]) / max(before, 1e-12)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        report("qat", step + 1, steps, f"{loss.item():.2f} of the error before")
        if (step + 1) % max(1, steps // 4) == 0:
            now = _mean_error(runner, program, feeds, references)
            if now < best:
                best, kept = now, _state(adapted)
    _restore(adapted, kept)
    with torch.no_grad():
        for one in adapted.values():
            cast(Tensor, one.inner.weight).copy_(one.stored())
            one.inner.bias = nn.Parameter(one.bias.detach().clone(), requires_grad=False)
    return Tuned(work, before, best, steps)


def _node(module: fx.GraphModule, layer: Layer) -> fx.Node:
    found: fx.Node = next(node for node in module.graph.nodes if node.name == layer.node)
    return found


class _Runner(fx.Interpreter):
    """Runs the program with its layers replaced."""

    def __init__(self, module: fx.GraphModule, owners: Mapping[str, _Adapted]) -> None:
        super().__init__(module)
        self._owners = owners

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target in self._owners:
            return self._owners[target](*args)
        return super().call_module(target, args, kwargs)


def _error(runner: _Runner, program: Program, feed: Feed, reference: Mapping[str, Any]) -> Tensor:
    given = runner.run(*(torch.from_numpy(feed[port.name]) for port in program.inputs))
    errors = [
        ((value - torch.from_numpy(reference[port.name])) ** 2).mean() / (port.high - port.low) ** 2
        for port, value in zip(program.outputs, given, strict=True)
    ]
    return torch.stack(errors).sum()


def _mean_error(
    runner: _Runner, program: Program, feeds: Sequence[Feed], references: Sequence[Any]
) -> float:
    with torch.no_grad():
        found = [
            float(_error(runner, program, feed, reference))
            for feed, reference in zip(feeds, references, strict=False)
        ]
    return sum(found) / len(found)


def _mirrored(program: Program, feed: Feed) -> dict[str, Any]:
    """Return a feed with its pictures mirrored; other inputs stay."""
    pictures = {
        port.name for port in program.inputs if port.layout == "nchw" and len(port.shape) == 4
    }
    return {
        name: value[..., ::-1].copy() if name in pictures else value for name, value in feed.items()
    }


def _state(adapted: Mapping[str, _Adapted]) -> dict[str, Any]:
    return {
        name: [p.detach().clone() for p in (one.up, one.down, one.bias)]
        for name, one in adapted.items()
    }


def _restore(adapted: Mapping[str, _Adapted], state: Mapping[str, Any]) -> None:
    with torch.no_grad():
        for name, one in adapted.items():
            for parameter, value in zip((one.up, one.down, one.bias), state[name], strict=True):
                parameter.copy_(value)
