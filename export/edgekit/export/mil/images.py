"""Sizes of pictures: resizing in all modes, sampling at coordinates, crops, pixel shuffles.

Source: image_resizing and tensor_transformation of the operation reference of coremltools
(coremltools.converters.mil.mil.ops.defs, iOS15 to iOS17), which gives the sampling grids.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekit.export.mil.values import (
    Arguments,
    Meaning,
    flag,
    integers,
    number,
    one,
    tensor,
    whole,
    word,
)


def _grid(mode: str, size: int, wanted: int) -> Tensor:
    """Return where each of `wanted` samples lies in an axis of `size` pixels."""
    steps = torch.arange(wanted, dtype=torch.float64)
    if mode == "ALIGN_CORNERS" and wanted == 1:
        return torch.tensor([(size - 1) / 2])
    if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
        places = steps * ((size - 1) / max(wanted - 1, 1))
    elif mode == "DEFAULT":
        places = steps * ((size - size / wanted) / max(wanted - 1, 1))
    elif mode == "OFFSET_CORNERS":
        delta = max(1, size - 1) / wanted
        places = 0.5 * delta + steps * delta
    elif mode == "UNALIGN_CORNERS":
        places = (steps + 0.5) * (size / wanted) - 0.5
    else:
        raise NotImplementedError(f"sampling mode {mode}")
    return places.clamp(0, size - 1)


def _linear_along(x: Tensor, axis: int, places: Tensor) -> Tensor:
    low = places.floor().long()
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    share = (places - low).float().reshape([-1] + [1] * (x.ndim - 1 - axis % x.ndim))
    return x.index_select(axis, low) * (1 - share) + x.index_select(axis, high) * share


def _bilinear(x: Tensor, sizes: list[int], mode: str) -> Tensor:
    for axis, wanted in zip(range(x.ndim - len(sizes), x.ndim), sizes, strict=True):
        x = _linear_along(x, axis, _grid(mode, x.shape[axis], wanted))
    return x


def _nearest(x: Tensor, sizes: list[int]) -> Tensor:
    """Take the pixel below i x (size / wanted): what PyTorch calls nearest."""
    for axis, wanted in zip(range(x.ndim - len(sizes), x.ndim), sizes, strict=True):
        size = x.shape[axis]
        x = x.index_select(axis, torch.arange(wanted) * size // wanted)
    return x


def _scaled(arguments: Arguments) -> list[int]:
    x = tensor(arguments["x"])
    factors = [number(arguments, f"scale_factor_{side}", 1.0) for side in ("height", "width")]
    return [int(n * factor + 1e-4) for n, factor in zip(x.shape[-2:], factors, strict=True)]


def _target(arguments: Arguments) -> list[int]:
    return [whole(arguments, f"target_size_{side}", 1) for side in ("height", "width")]


def _upsample_bilinear(arguments: Arguments) -> Tensor:
    corners = flag(arguments, "align_corners", True)
    if not corners and not flag(arguments, "half_pixel_centers", True):
        return _bilinear(tensor(arguments["x"]), _scaled(arguments), "DEFAULT")
    mode = "STRICT_ALIGN_CORNERS" if corners else "UNALIGN_CORNERS"
    return _bilinear(tensor(arguments["x"]), _scaled(arguments), mode)


def _resize_bilinear(arguments: Arguments) -> Tensor:
    mode = word(arguments, "sampling_mode", "DEFAULT")
    return _bilinear(tensor(arguments["x"]), _target(arguments), mode)


def _resize(arguments: Arguments) -> Tensor:
    x, mode = tensor(arguments["x"]), word(arguments, "sampling_mode", "DEFAULT")
    count = whole(arguments, "resized_dims", 2)
    asked = integers(arguments["shape"])[-count:]
    sizes = [n or x.shape[i - count] for i, n in enumerate(asked)]
    if word(arguments, "interpolation_mode", "LINEAR") == "LINEAR":
        return _bilinear(x, sizes, mode)
    if mode != "DEFAULT":
        raise NotImplementedError(f"resize to the nearest in sampling mode {mode}")
    return _nearest(x, sizes)


_PADDINGS = {"constant": "zeros", "border": "border", "reflection": "reflection"}


def _resample(arguments: Arguments) -> Tensor:
    x, places = tensor(arguments["x"]), tensor(arguments["coordinates"]).float()
    mode, padding = word(arguments, "coordinates_mode", ""), word(arguments, "padding_mode", "")
    corners = flag(arguments, "align_corners")
    if padding == "constant" and number(arguments, "padding_value", 0.0) != 0:
        raise NotImplementedError("resample with a padding other than zero")
    if padding == "symmetric":
        raise NotImplementedError("resample with symmetric padding")
    if mode == "normalized_zero_to_one":
        places = places * 2 - 1
    elif mode == "unnormalized":
        sizes = torch.tensor([x.shape[3], x.shape[2]], dtype=torch.float32)
        places, corners = places * 2 / (sizes - 1).clamp(min=1) - 1, True
    elif mode != "normalized_minus_one_to_one":
        raise NotImplementedError(f"resample with coordinates {mode}")
    return F.grid_sample(
        x,
        places,
        mode=word(arguments, "sampling_mode", "bilinear"),
        padding_mode=_PADDINGS[padding],
        align_corners=corners,
    )


def _affine(arguments: Arguments) -> Tensor:
    x, matrix = tensor(arguments["x"]), tensor(arguments["transform_matrix"])
    size = [x.shape[0], x.shape[1], *(int(one(arguments[f"output_{s}"])) for s in _SIDES)]
    corners = flag(arguments, "align_corners", True)
    matrices = matrix.reshape(-1, 2, 3).expand(x.shape[0], 2, 3)
    grid = F.affine_grid(matrices, size, align_corners=corners)
    return F.grid_sample(x, grid, align_corners=corners)


_SIDES = ("height", "width")


def _crop(arguments: Arguments) -> Tensor:
    x = tensor(arguments["x"])
    (top, bottom), (left, right) = (integers(arguments[f"crop_{side}"]) for side in _SIDES)
    return x[..., top : x.shape[-2] - bottom, left : x.shape[-1] - right]


def _space_to_depth(x: Tensor, block: int) -> Tensor:
    """Rearrange blocks so that the place in the block is the slow axis of the channels."""
    batch, channels, height, width = x.shape
    cut = x.reshape(batch, channels, height // block, block, width // block, block)
    turned = cut.permute(0, 3, 5, 1, 2, 4)
    return turned.reshape(batch, -1, height // block, width // block)


def _depth_to_space(x: Tensor, block: int) -> Tensor:
    batch, channels, height, width = x.shape
    cut = x.reshape(batch, block, block, channels // block**2, height, width)
    turned = cut.permute(0, 3, 4, 1, 5, 2)
    return turned.reshape(batch, channels // block**2, height * block, width * block)


IMAGES: dict[str, Meaning] = {
    "upsample_nearest_neighbor": lambda a: _nearest(tensor(a["x"]), _scaled(a)),
    "resize_nearest_neighbor": lambda a: _nearest(tensor(a["x"]), _target(a)),
    "upsample_bilinear": _upsample_bilinear,
    "resize_bilinear": _resize_bilinear,
    "resize": _resize,
    "resample": _resample,
    "affine": _affine,
    "crop": _crop,
    "pixel_shuffle": lambda a: F.pixel_shuffle(tensor(a["x"]), whole(a, "upscale_factor", 1)),
    "pixel_unshuffle": lambda a: F.pixel_unshuffle(tensor(a["x"]), whole(a, "downscale_factor", 1)),
    "space_to_depth": lambda a: _space_to_depth(tensor(a["x"]), whole(a, "block_size", 1)),
    "depth_to_space": lambda a: _depth_to_space(tensor(a["x"]), whole(a, "block_size", 1)),
}
"""Operation -> its meaning."""
