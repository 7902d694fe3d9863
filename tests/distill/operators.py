"""What a CUDA graph cannot hold, seen on a processor: sizes that depend on values, host numbers."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST = {
    "_local_scalar_dense", "nonzero", "masked_select", "lift_fresh", "lift_fresh_copy",
    "index by a list",
}  # fmt: skip
"""Operators that wait for the device, or copy numbers of Python to it."""


class Asked(TorchDispatchMode):
    """Remember the operators that run.

    A list in brackets becomes a tensor unseen: an index that no operator made, and that is not
    among the tensors `given`, is called "index by a list". What adds to places by brackets, as the
    gradient of an index does, is called "sorted sum": a GPU sorts the places first.
    """

    def __init__(self, given: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.names: set[str] = set()
        # Kept, so that no number of an object is given twice.
        self._known = {id(tensor): tensor for tensor in given}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name == "index":
            places = [place for place in args[1] if place is not None]
            if any(place.dtype == torch.bool for place in places):
                name = "nonzero"
            elif any(id(place) not in self._known for place in places):
                name = "index by a list"
        if "index_put" in name and (args[3] if len(args) > 3 else (kwargs or {}).get("accumulate")):
            name = "sorted sum"
        self.names.add(name)
        made = func(*args, **(kwargs or {}))
        self._known |= {id(leaf): leaf for leaf in tree_leaves(made) if isinstance(leaf, Tensor)}
        return made
