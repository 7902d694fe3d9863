"""Who finds out what pixels see: the rasterizer of this project, or nvdiffrast where it is.

Both take the same vertices and triangles and give the same `Raster`, so nothing else knows which of
them works. nvdiffrast needs CUDA and its compiler, and its licence forbids commercial use: it is
never required, nor installed by an extra.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from edgekit.core.errors import EdgekitError, TargetUnsupported, unknown_name
from edgekit.distill.render.rasterize import (
    NOTHING,
    Raster,
    antialias,
    neighbors_of,
    rasterize_joined,
)

NVDIFFRAST = "nvdiffrast"
NAMES = ("auto", "torch", NVDIFFRAST)
EXACT = 1 << 24
"""Largest number of a triangle that nvdiffrast writes as a plain float."""


@runtime_checkable
class Rasterizer(Protocol):
    """Pictures of joined meshes: vertices V x 4, triangles T x 3, picture by picture."""

    name: str

    def seen(
        self, vertices: Tensor, triangles: Tensor, pictures: Tensor, num_pictures: int, size_px: int
    ) -> Raster:
        """Find what every pixel sees; `pictures` (T, ascending) says where a triangle is.

        Gradients reach `vertices` through the weights of the raster.
        """
        ...

    def smoothed(
        self, colors: Tensor, raster: Raster, vertices: Tensor, triangles: Tensor
    ) -> Tensor:
        """Blend `colors` (B x S x S x C) along outlines, with gradients for `vertices`."""
        ...


class TorchRasterizer:
    """The functions of `rasterize`: any device. Meshes are taken as closed: backs are left out."""

    name = "torch"

    def seen(
        self, vertices: Tensor, triangles: Tensor, pictures: Tensor, num_pictures: int, size_px: int
    ) -> Raster:
        """Find what every pixel sees."""
        size = (size_px, size_px)
        return rasterize_joined(vertices, triangles, pictures, num_pictures, size, cull_back=True)

    def smoothed(
        self, colors: Tensor, raster: Raster, vertices: Tensor, triangles: Tensor
    ) -> Tensor:
        """Blend along outlines."""
        return antialias(colors, raster, vertices, triangles, neighbors_of(triangles))


class NvdiffrastRasterizer:
    """nvdiffrast's CUDA rasterizer (0.3 or later), float32, one context a device.

    Its pictures have their lowest row first, its triangles count from 1, and its weights are those
    of the first two corners.
    """

    name = NVDIFFRAST

    def __init__(self, device: torch.device) -> None:
        """Make the context on `device`; the first time, nvdiffrast compiles itself.

        Raises EdgekitError if it is not installed, and TargetUnsupported if it cannot be built.
        """
        try:
            self._library: Any = import_module("nvdiffrast.torch")
        except ModuleNotFoundError as error:
            raise EdgekitError(
                f"{NVDIFFRAST} is not installed",
                hint="install it from its own project, or use the rasterizer 'torch'",
            ) from error
        try:
            self._context = self._library.RasterizeCudaContext(device=device)
        except (RuntimeError, OSError, AssertionError) as error:
            raise TargetUnsupported(
                f"{NVDIFFRAST} does not run on {device}: {error}",
                hint="it needs a CUDA device and nvcc; or use the rasterizer 'torch'",
            ) from error

    def seen(
        self, vertices: Tensor, triangles: Tensor, pictures: Tensor, num_pictures: int, size_px: int
    ) -> Raster:
        """Find what every pixel sees."""
        if len(triangles) > EXACT:
            raise ValueError(f"{len(triangles)} triangles; {EXACT} can be told apart")
        if not len(triangles):
            return TorchRasterizer().seen(vertices, triangles, pictures, num_pictures, size_px)
        counts = torch.bincount(pictures, minlength=num_pictures).cpu()
        ranges = torch.stack([counts.cumsum(0) - counts, counts], 1).int()
        raster, _ = self._library.rasterize(
            self._context,
            vertices.float().contiguous(),
            triangles.int().contiguous(),
            (size_px, size_px),
            ranges=ranges,
            grad_db=False,
        )
        first, second, depth, number = raster.flip(1).unbind(-1)
        triangle = number.detach().long() - 1
        covered = triangle != NOTHING
        third = torch.where(covered, 1 - first - second, 0)
        depth = torch.where(covered, depth.detach(), 1)
        return Raster(triangle, torch.stack([first, second, third], -1), depth)

    def smoothed(
        self, colors: Tensor, raster: Raster, vertices: Tensor, triangles: Tensor
    ) -> Tensor:
        """Blend along outlines."""
        if not len(triangles):
            return colors
        number = (raster.triangle + 1).to(vertices.dtype)
        both = [*raster.weights.detach().unbind(-1)[:2], raster.depth, number]
        blended: Tensor = self._library.antialias(
            colors.float().flip(1).contiguous(),
            torch.stack(both, -1).float().flip(1).contiguous(),
            vertices.float().contiguous(),
            triangles.int().contiguous(),
        )
        return blended.flip(1)


def rasterizer_named(name: str, device: torch.device | str) -> Rasterizer:
    """Return a rasterizer of `NAMES` for a device.

    "auto" is nvdiffrast on a CUDA device where it is installed and runs, and torch elsewhere.

    Raises EdgekitError for another name, and where nvdiffrast is named but missing or broken.
    """
    if name not in NAMES:
        raise unknown_name("rasterizer", name, NAMES)
    return _made(name, torch.device(device))


@lru_cache(maxsize=8)
def _made(name: str, device: torch.device) -> Rasterizer:
    if name == "auto" and device.type == "cuda" and find_spec(NVDIFFRAST) is not None:
        try:
            return NvdiffrastRasterizer(device)
        except EdgekitError as error:
            warnings.warn(f"using the rasterizer 'torch': {error.what}", stacklevel=3)
    return NvdiffrastRasterizer(device) if name == NVDIFFRAST else TorchRasterizer()
