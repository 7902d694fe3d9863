"""What moves values without computing: shapes, slices, gathers, pads, orders.

Source: tensor_operation, tensor_transformation and scatter_gather of the operation reference of
coremltools (coremltools.converters.mil.mil.ops.defs, iOS15 to iOS18).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from edgekit.export.mil.values import (
    Arguments,
    Meaning,
    backwards,
    flag,
    integers,
    number,
    one,
    tensor,
    unary,
    whole,
    word,
)


def _reshape(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    sizes = [x.shape[i] if n == 0 else n for i, n in enumerate(integers(arguments["shape"]))]
    return x.reshape(sizes)


def _squeeze(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    if "axes" not in arguments:
        return x.squeeze()
    return x.squeeze(tuple(integers(arguments["axes"])))


def _expand_dims(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    axes = integers(arguments["axes"])
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _concat(arguments: Arguments) -> Tensor:
    values = [tensor(value) for value in arguments["values"]]
    values = [value.reshape(1) if value.ndim == 0 else value for value in values]
    axis = whole(arguments, "axis", 0)
    if flag(arguments, "interleave"):
        parts = torch.stack(values, axis % values[0].ndim + 1)
        return parts.flatten(axis % values[0].ndim, axis % values[0].ndim + 1)
    return torch.cat(values, axis)


def _split(arguments: Arguments) -> list[Tensor]:
    x, axis = tensor(arguments["x"]), whole(arguments, "axis", 0)
    if "split_sizes" in arguments:
        return list(torch.split(x, integers(arguments["split_sizes"]), axis))
    return list(torch.chunk(x, int(one(arguments["num_splits"])), axis))


def _slice_parts(arguments: Arguments, x: Tensor) -> tuple[int | slice, ...]:
    strides = integers(arguments.get("stride", [1] * x.ndim))
    masks = {
        name: [bool(value) for value in np.asarray(arguments.get(name, [False] * x.ndim))]
        for name in ("begin_mask", "end_mask", "squeeze_mask")
    }
    parts: list[int | slice] = []
    for i, (begin, end) in enumerate(
        zip(integers(arguments["begin"]), integers(arguments["end"]), strict=True)
    ):
        if masks["squeeze_mask"][i]:
            parts.append(begin)
        else:
            first = None if masks["begin_mask"][i] else begin
            last = None if masks["end_mask"][i] else end
            parts.append(slice(first, last, strides[i]))
    return tuple(parts)


def _slice_by_index(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    parts = _slice_parts(arguments, x)  # torch knows no negative steps
    return torch.from_numpy(np.array(x.numpy()[parts]))


def _slice_update(arguments: Arguments) -> Tensor:
    x = np.array(tensor(arguments["x"]).numpy())
    x[_slice_parts(arguments, tensor(x))] = tensor(arguments["update"]).numpy()
    return torch.from_numpy(x)


def _slice_by_size(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    begins, sizes = integers(arguments["begin"]), integers(arguments["size"])
    for axis, (begin, size) in enumerate(zip(begins, sizes, strict=True)):
        begin %= max(x.shape[axis], 1)
        x = x.narrow(axis, begin, x.shape[axis] - begin if size == -1 else size)
    return x


def _pad(arguments: Arguments) -> Tensor:
    x, mode = tensor(arguments["x"]), word(arguments, "mode", "constant")
    pairs = np.array(integers(arguments["pad"])).reshape(-1, 2).tolist()  # of the last dimensions
    if mode == "constant":
        return F.pad(x, backwards(pairs), value=number(arguments, "constant_val", 0.0))
    everywhere = [[0, 0]] * (x.ndim - len(pairs)) + pairs
    made = np.pad(x.numpy(), everywhere, mode="edge" if mode == "replicate" else "reflect")
    return torch.from_numpy(made)


def _gather(arguments: Arguments) -> Tensor:
    x, places = tensor(arguments["x"]), tensor(arguments["indices"]).long()
    axis = whole(arguments, "axis", 0) % x.ndim
    batched = whole(arguments, "batch_dims", 0)
    places = torch.where(places < 0, places + x.shape[axis], places)
    if batched:
        lead = x.shape[:batched]
        rows = x.reshape(-1, *x.shape[batched:])
        wanted = places.reshape(-1, *places.shape[batched:])
        made = [_taken(row, index, axis - batched) for row, index in zip(rows, wanted, strict=True)]
        return torch.stack(made).reshape(*lead, *made[0].shape)
    return _taken(x, places, axis)


def _taken(x: Tensor, places: Tensor, axis: int) -> Tensor:
    found = x.index_select(axis, places.reshape(-1))
    return found.reshape([*x.shape[:axis], *places.shape, *x.shape[axis + 1 :]])


def _gather_along_axis(arguments: Arguments) -> Tensor:
    x, places = tensor(arguments["x"]), tensor(arguments["indices"]).long()
    axis = whole(arguments, "axis", 0)
    return torch.take_along_dim(x, torch.where(places < 0, places + x.shape[axis], places), axis)


def _gather_nd(arguments: Arguments) -> Tensor:
    x, places = tensor(arguments["x"]), tensor(arguments["indices"]).long()
    batched = whole(arguments, "batch_dims", 0)
    if not batched:
        return x[places.unbind(-1)]
    lead = x.shape[:batched]
    rows = x.reshape(-1, *x.shape[batched:])
    wanted = places.reshape(-1, *places.shape[batched:])
    made = [row[index.unbind(-1)] for row, index in zip(rows, wanted, strict=True)]
    return torch.stack(made).reshape(*lead, *made[0].shape)


def _combined(old: Tensor, new: Tensor, mode: str) -> Tensor:
    if mode in ("update", "add", "sub", "mul", "div", "max", "min"):
        return {
            "update": new,
            "add": old + new,
            "sub": old - new,
            "mul": old * new,
            "div": old / new,
            "max": torch.maximum(old, new),
            "min": torch.minimum(old, new),
        }[mode]
    raise NotImplementedError(f"scatter in mode {mode}")


def _scatter_nd(arguments: Arguments) -> Tensor:
    data, places = tensor(arguments["data"]).clone(), tensor(arguments["indices"]).long()
    updates, mode = tensor(arguments["updates"]), word(arguments, "mode", "add")
    flat = places.reshape(-1, places.shape[-1])
    rows = updates.reshape(flat.shape[0], *updates.shape[places.ndim - 1 :])
    for place, row in zip(flat, rows, strict=True):  # in order: places may repeat
        where = tuple(int(n) for n in place)
        data[where] = _combined(data[where], row, mode)
    return data


def _scatter(arguments: Arguments) -> Tensor:
    data, places = tensor(arguments["data"]).clone(), tensor(arguments["indices"]).long()
    axis = whole(arguments, "axis", 0) % data.ndim
    if places.ndim != 1:
        raise NotImplementedError("scatter with places of more than one dimension")
    mode = word(arguments, "mode", "add")
    for place, row in zip(places.tolist(), tensor(arguments["updates"]).unbind(axis), strict=True):
        where = (slice(None),) * axis + (place,)
        data[where] = _combined(data[where], row, mode)
    return data


def _scatter_along_axis(arguments: Arguments) -> Tensor:
    data, places = tensor(arguments["data"]), tensor(arguments["indices"]).long()
    axis, mode = whole(arguments, "axis", 0), word(arguments, "mode", "add")
    updates = tensor(arguments["updates"])
    if mode == "update":
        return data.scatter(axis, places, updates)
    if mode == "add":
        return data.scatter_add(axis, places, updates)
    raise NotImplementedError(f"scatter_along_axis in mode {mode}")


def _cumsum(arguments: Arguments) -> Tensor:
    x, axis = tensor(arguments["x"]), whole(arguments, "axis", 0)
    turned = x.flip(axis) if flag(arguments, "reverse") else x
    total = turned.cumsum(axis).to(x.dtype)
    if flag(arguments, "exclusive"):
        total = total - turned
    return total.flip(axis) if flag(arguments, "reverse") else total


def _fill(arguments: Arguments) -> Tensor:
    value = tensor(arguments.get("value", np.float32(0)))
    return value.reshape([1] * len(integers(arguments["shape"]))).expand(
        integers(arguments["shape"])
    )


def _range(arguments: Arguments) -> Tensor:
    start, end, step = (tensor(arguments[name]).reshape(()) for name in ("start", "end", "step"))
    return torch.arange(start.item(), end.item(), step.item(), dtype=start.dtype)


def _one_hot(arguments: Arguments) -> Tensor:
    places = tensor(arguments["indices"]).long()
    size, axis = int(one(arguments["one_hot_vector_size"])), whole(arguments, "axis", -1)
    on = tensor(arguments.get("on_value", np.int32(1)))
    off = tensor(arguments.get("off_value", np.int32(0)))
    hot = F.one_hot(places, size).bool().movedim(-1, axis)
    return torch.where(hot, on, off)


def _band_part(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    lower, upper = whole(arguments, "lower", -1), whole(arguments, "upper", -1)
    rows, columns = torch.arange(x.shape[-2])[:, None], torch.arange(x.shape[-1])
    kept = torch.ones(x.shape[-2:], dtype=torch.bool)
    if lower >= 0:
        kept &= rows - columns <= lower
    if upper >= 0:
        kept &= columns - rows <= upper
    return torch.where(kept, x, torch.zeros((), dtype=x.dtype))


def _argsort(arguments: Arguments) -> Tensor:
    descending = not flag(arguments, "ascending")
    axis = whole(arguments, "axis", -1)
    ordered = torch.argsort(tensor(arguments["x"]), dim=axis, descending=descending, stable=True)
    return ordered.int()


def _topk(arguments: Arguments) -> list[Tensor]:
    x, axis = tensor(arguments["x"]), whole(arguments, "axis", -1)
    found = torch.topk(x, whole(arguments, "k", 1), axis, largest=not flag(arguments, "ascending"))
    values = [found.values, found.indices.int()]
    return values if flag(arguments, "return_indices", True) else values[:1]


def _flatten2d(arguments: Arguments) -> Tensor:
    x, axis = tensor(arguments["x"]), whole(arguments, "axis", 1)
    return x.reshape(int(np.prod(x.shape[:axis])), -1)


def _sliding_windows(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    axis = whole(arguments, "axis", 0) % x.ndim
    unfolded = x.unfold(axis, int(one(arguments["size"])), whole(arguments, "stride", 1))
    return unfolded.movedim(-1, axis + 1)


def _reversed(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    axes: Any = integers(arguments["axes"]) if "axes" in arguments else range(x.ndim)
    return x.flip(list(axes))


def _tile(arguments: Arguments) -> Tensor:
    return tensor(arguments["x"]).repeat(integers(arguments["reps"]))


ARRAYS: dict[str, Meaning] = {
    "shape": unary(lambda x: torch.tensor(list(x.shape), dtype=torch.int32)),
    "reshape": _reshape,
    "transpose": lambda a: tensor(a["x"]).permute(integers(a["perm"])),
    "squeeze": _squeeze,
    "expand_dims": _expand_dims,
    "flatten2d": _flatten2d,
    "concat": _concat,
    "stack": lambda a: torch.stack([tensor(v) for v in a["values"]], whole(a, "axis", 0)),
    "split": _split,
    "slice_by_index": _slice_by_index,
    "slice_by_size": _slice_by_size,
    "slice_update": _slice_update,
    "sliding_windows": _sliding_windows,
    "reverse": _reversed,
    "pad": _pad,
    "tile": _tile,
    "fill": _fill,
    "range_1d": _range,
    "one_hot": _one_hot,
    "band_part": _band_part,
    "cumsum": _cumsum,
    "gather": _gather,
    "gather_along_axis": _gather_along_axis,
    "gather_nd": _gather_nd,
    "scatter": _scatter,
    "scatter_along_axis": _scatter_along_axis,
    "scatter_nd": _scatter_nd,
    "non_zero": unary(lambda x: torch.nonzero(x).int()),
    "argsort": _argsort,
    "topk": _topk,
}
"""Operation -> its meaning."""
