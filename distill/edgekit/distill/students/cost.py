"""How many multiply-adds and weights a network has, counted on the operators that really run."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten


class MacCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the multiply-adds of every convolution and matrix product below it.

    Fused attention is counted as its two products. Element-wise work (norms, activations,
    softmax, interpolation) counts as nothing, which is how papers count.
    """

    def __init__(self, *, spread_by_output: bool = False) -> None:
        """Start at zero.

        A transposed convolution spreads each input pixel, and so it is counted; with
        `spread_by_output` it is counted for each output pixel instead, inserted zeros included, as
        some papers do (pix2pix' 56.8 G).
        """
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs = 0
        self.spread_by_output = spread_by_output

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator and count it."""
        result = func(*args, **(kwargs or {}))
        self.macs += _macs(func, args, result, self.spread_by_output)
        return result


def _macs(func: Any, args: Any, result: Any, spread_by_output: bool) -> int:
    packet = func.overloadpacket
    if packet is ATEN.convolution:
        image, weight, transposed = args[0], args[1], args[6]
        places = image if transposed else result
        zeros = math.prod(args[3]) if transposed and spread_by_output else 1
        return int(places.shape[0] * math.prod(places.shape[2:]) * zeros * weight.numel())
    if packet in (ATEN.mm, ATEN.bmm):
        return int(result.numel() * args[0].shape[-1])
    if packet in (ATEN.addmm, ATEN.baddbmm):
        return int(result.numel() * args[1].shape[-1])
    if "scaled_dot_product" in str(packet):
        query, key, value = args[:3]
        products = query.shape[-1] + value.shape[-1]
        return int(math.prod(query.shape[:-1]) * key.shape[-2] * products)
    return 0


def count_macs(module: nn.Module, *inputs: Tensor, spread_by_output: bool = False) -> int:
    """Return the multiply-adds of ``module(*inputs)``; see `MacCounter`."""
    with torch.no_grad(), MacCounter(spread_by_output=spread_by_output) as counter:
        module(*inputs)
    return int(counter.macs)


def count_parameters(module: nn.Module, *, trainable_only: bool = False) -> int:
    """Return the number of weights of `module`, biases included, buffers not."""
    return sum(
        weight.numel()
        for weight in module.parameters()
        if weight.requires_grad or not trainable_only
    )
