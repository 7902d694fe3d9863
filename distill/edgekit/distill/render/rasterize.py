"""Which triangle each pixel sees, attributes between its corners, and smooth edges.

Shape key:
    B pictures   V vertices   T triangles   H W rows and columns of pixels   C channels

A vertex is (x, y, z, w) before the division by w: after it x and y run from -1 to 1, left to right
and bottom to top, and z from -1 (near) to 1 (far). Rows of a picture run from top to bottom.

Pictures show one mesh in B places (vertices B x V x 4, triangles T x 3), or each a mesh of its own:
then vertices and triangles of all are joined, V x 4 and T x 3 in sum, and triangles of a raster are
numbers among all (`rasterize_joined`).

Coverage itself has no gradient: a pixel belongs to one triangle. `interpolate` passes gradients to
vertices and attributes inside a triangle; `antialias` blends neighbouring pixels by where an
outline passes between their centres, and so passes gradients to the vertices of outlines.

Source: the division of work is that of nvdiffrast (Laine et al. 2020, arXiv:2011.03277). Left out:
clipping (a triangle that reaches behind the camera is dropped) and texture mipmaps.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

NOTHING = -1
"""Triangle of a pixel that sees none."""
CHUNK = 1 << 22
"""Pairs of a triangle and a pixel that are tested at once: 300 MB."""
LEVELS = 1 << 30
"""Steps of depth; nearer than one step, the triangle that comes first is seen."""


@dataclass(frozen=True, slots=True)
class Raster:
    """What each pixel sees."""

    triangle: Tensor
    """B x H x W, int64, `NOTHING` where no triangle is."""
    weights: Tensor
    """B x H x W x 3, perspective-correct shares of the triangle's corners; 0 where none is."""
    depth: Tensor
    """B x H x W, z / w from -1 (near) to 1 (far); 1 where no triangle is. No gradient."""

    @property
    def covered(self) -> Tensor:
        """B x H x W, bool: a triangle is seen."""
        return self.triangle != NOTHING


def rasterize(
    vertices: Tensor, triangles: Tensor, size: tuple[int, int], *, cull_back: bool = False
) -> Raster:
    """Find the nearest triangle for the centre of each pixel of pictures of `size` (H, W).

    `vertices` are B x V x 4, `triangles` T x 3 (int64), the same for all pictures. `cull_back`
    leaves out triangles whose corners run clockwise in the picture. Gradients reach `vertices`
    through the weights. The result does not depend on the order in which the device works.
    """
    if vertices.ndim != 3 or vertices.shape[2] != 4:
        raise ValueError(f"vertices must be B x V x 4, got {tuple(vertices.shape)}")
    if triangles.ndim != 2 or triangles.shape[1] != 3:
        raise ValueError(f"triangles must be T x 3, got {tuple(triangles.shape)}")
    batch, count = len(vertices), len(triangles)
    raster = rasterize_joined(
        *_joined(vertices, triangles),
        _each(batch, count, vertices.device),
        batch,
        size,
        cull_back=cull_back,
    )
    first = torch.arange(batch, device=vertices.device)[:, None, None] * count
    triangle = torch.where(raster.covered, raster.triangle - first, NOTHING)
    return Raster(triangle, raster.weights, raster.depth)


def rasterize_joined(
    vertices: Tensor,
    triangles: Tensor,
    pictures: Tensor,
    num_pictures: int,
    size: tuple[int, int],
    *,
    cull_back: bool = False,
) -> Raster:
    """Do what `rasterize` does where each triangle is in one picture alone, `pictures` (T) says.

    `vertices` are V x 4, those of all pictures.
    """
    nearest = _nearest(vertices.detach(), triangles, pictures, num_pictures, size, cull_back)
    seen = nearest != torch.iinfo(torch.int64).max
    triangle = torch.where(seen, nearest & 0xFFFFFFFF, NOTHING)
    depth = _depth(nearest, vertices.dtype)
    return Raster(triangle, _weights(vertices, triangles, triangle), depth)


def depth_map(vertices: Tensor, triangles: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the depth of `rasterize` alone, B x H x W: what a light sees of a scene."""
    batch = len(vertices)
    pictures = _each(batch, len(triangles), vertices.device)
    joined = _joined(vertices.detach(), triangles)
    return _depth(_nearest(*joined, pictures, batch, size, cull_back=False), vertices.dtype)


def interpolate(attributes: Tensor, raster: Raster, triangles: Tensor) -> Tensor:
    """Return attributes at each pixel, B x H x W x C, 0 where no triangle is seen.

    `attributes` belong to the corners that `triangles` names, V x C or B x V x C; other `triangles`
    than those that were rasterized may be given, for attributes with seams.
    """
    batch, height, width = raster.triangle.shape
    if not len(triangles):
        # The sum of nothing keeps the way of gradients, for a loss that other terms share.
        return attributes.new_zeros(batch, height, width, attributes.shape[-1]) + attributes.sum()
    if attributes.ndim == 2:
        # Pixels that see nothing would all ask for the same corners, one by one on the way back.
        seen = raster.covered.flatten().nonzero()[:, 0]
        corners = triangles[raster.triangle.flatten()[seen]]
        shares = picked(raster.weights.reshape(-1, 3, 1), seen)
        found = (picked(attributes, corners) * shares).sum(1)
        blank = found.new_zeros(batch * height * width, attributes.shape[-1])
        return blank.index_put((seen,), found).view(batch, height, width, -1)
    corners = triangles[raster.triangle.clamp(min=0)].view(batch, -1)
    values = attributes.gather(1, corners[:, :, None].expand(-1, -1, attributes.shape[2]))
    values = values.view(batch, height, width, 3, -1)
    return (values * raster.weights[..., None]).sum(3)


def picked(values: Tensor, numbers: Tensor) -> Tensor:
    """Return ``values[numbers]`` with a gradient that is fast where numbers repeat.

    On a GPU that of brackets sorts all numbers and then adds equal ones up one after the other.
    """
    found = values.index_select(0, numbers.flatten())
    return found.view(*numbers.shape, *values.shape[1:])


def antialias(
    colors: Tensor, raster: Raster, vertices: Tensor, triangles: Tensor, neighbors: Tensor
) -> Tensor:
    """Blend pixels along outlines by the share that the nearer surface has of them.

    `colors` are B x H x W x C, `neighbors` those of `neighbors_of(triangles)`. An outline is an
    edge of the nearer triangle whose other side faces away or is open; inside a surface nothing is
    blended. `vertices` may be joined (V x 4), as they were rasterized.
    """
    batch, height, width = raster.triangle.shape
    triangle = raster.triangle
    if vertices.ndim == 3:
        count = len(triangles)
        first = torch.arange(batch, device=triangle.device)[:, None, None] * count
        triangle = torch.where(raster.covered, triangle + first, NOTHING)
        neighbors = torch.where(neighbors == NOTHING, NOTHING, neighbors + first).flatten(0, 1)
        vertices, triangles = _joined(vertices, triangles)
    screen = _screen(vertices, (height, width))
    facing = _area(screen[triangles]) > 0
    blended = colors
    for axis in (2, 1):
        change_first, change_second = _blend(
            colors, triangle, raster.depth, screen, facing, triangles, neighbors, axis
        )
        pad = (0, 0, 0, 1) if axis == 2 else (0, 0, 0, 0, 0, 1)
        lead = (0, 0, 1, 0) if axis == 2 else (0, 0, 0, 0, 1, 0)
        blended = blended + F.pad(change_first, pad) + F.pad(change_second, lead)
    return blended


def neighbors_of(triangles: Tensor) -> Tensor:
    """Return T x 3: the triangle across the edge opposite to each corner, `NOTHING` at a border.

    >>> neighbors_of(torch.tensor([[0, 1, 2], [2, 1, 3]])).tolist()
    [[1, -1, -1], [-1, -1, 0]]
    """
    if not len(triangles):
        return triangles
    edges = torch.stack([triangles[:, [1, 2]], triangles[:, [2, 0]], triangles[:, [0, 1]]], 1)
    low, high = edges.min(2).values.flatten(), edges.max(2).values.flatten()
    names = low * (int(triangles.max()) + 1) + high
    order = names.argsort(stable=True)
    same = names[order][1:] == names[order][:-1]
    found = torch.full_like(names, NOTHING)
    owner = torch.arange(len(triangles), device=triangles.device).repeat_interleave(3)
    first, second = order[:-1][same], order[1:][same]
    found[first], found[second] = owner[second], owner[first]
    return found.view(-1, 3)


def vertex_normals(positions: Tensor, triangles: Tensor) -> Tensor:
    """Return unit normals of `positions` (B x V x 3), each the mean of its triangles by area."""
    corners = positions.index_select(1, triangles.flatten())
    corners = corners.view(len(positions), -1, 3, 3)
    faces = torch.linalg.cross(
        corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    )
    normals = torch.zeros_like(positions)
    for corner in range(3):
        normals = normals.index_add(1, triangles[:, corner], faces)
    return F.normalize(normals, dim=-1, eps=1e-12)


@torch.no_grad()
def _nearest(
    vertices: Tensor,
    triangles: Tensor,
    pictures: Tensor,
    num_pictures: int,
    size: tuple[int, int],
    cull_back: bool,
) -> Tensor:
    """Return depth << 32 | triangle of what each pixel sees, the largest integer for nothing."""
    height, width = size
    ndc = vertices[..., :3] / vertices[..., 3:].clamp(min=1e-9)
    corners = _screen(vertices, size)[triangles]
    depths = ndc[:, 2][triangles]
    area = _area(corners)
    usable = (vertices[:, 3][triangles] > 1e-6).all(1)
    usable &= (area > 0) if cull_back else (area != 0)
    low = (corners.amin(1) - 0.5).ceil().clamp(min=0)
    limit = torch.tensor([width - 1, height - 1], device=vertices.device)
    high = torch.minimum((corners.amax(1) - 0.5).floor(), limit)
    extent = (high - low + 1).clamp(min=0)
    counts = (extent[:, 0] * extent[:, 1] * usable).long()
    some = counts.nonzero()[:, 0]
    counts = counts[some]
    low, extent = low[some].long(), extent[some].long()
    # Edge functions and depth are linear in the pixel: a x + b y + c, counted from the box of the
    # triangle: from the corner of the picture, rounding would make triangles below a pixel leak.
    planes = _planes(corners[some] - low[:, None], depths[some])
    picture = pictures[some]
    nearest = torch.full(
        (num_pictures * height * width,),
        torch.iinfo(torch.int64).max,
        dtype=torch.int64,
        device=vertices.device,
    )
    ends = counts.cumsum(0)
    first = 0
    while first < len(counts):
        begun = int(ends[first - 1]) if first else 0
        last = int(torch.searchsorted(ends, begun + CHUNK, right=True))
        last = max(last, first + 1)
        part = slice(first, last)
        rows = torch.repeat_interleave(counts[part]) + first
        inside = torch.arange(len(rows), device=rows.device) - (ends - counts)[rows] + begun
        x, y = inside % extent[rows, 0], inside // extent[rows, 0]
        plane = planes[rows]
        values = plane[:, :, 0] * (x + 0.5)[:, None] + plane[:, :, 1] * (y + 0.5)[:, None]
        values = values + plane[:, :, 2]
        hit = ((values[:, :3] >= 0).all(1) & (values[:, 3].abs() <= 1)).nonzero()[:, 0]
        rows, x, y = rows[hit], x[hit], y[hit]
        steps = ((values[hit, 3] + 1) / 2 * LEVELS).long()
        x, y = x + low[rows, 0], y + low[rows, 1]
        where = (picture[rows] * height + y) * width + x
        nearest.scatter_reduce_(0, where, (steps << 32) | some[rows], "amin")
        first = last
    return nearest.view(num_pictures, height, width)


def _each(batch: int, count: int, device: torch.device) -> Tensor:
    """Return the picture of each triangle where all B pictures show the same `count` ones."""
    return torch.arange(batch, device=device).repeat_interleave(count)


def _joined(vertices: Tensor, triangles: Tensor) -> tuple[Tensor, Tensor]:
    """Return vertices and triangles of all pictures, one behind the other."""
    batch, count = vertices.shape[:2]
    first = torch.arange(batch, device=vertices.device)[:, None, None] * count
    return vertices.flatten(0, 1), (triangles + first).flatten(0, 1)


def _depth(nearest: Tensor, dtype: torch.dtype) -> Tensor:
    steps = (nearest >> 32).to(dtype) / LEVELS * 2 - 1
    seen = nearest != torch.iinfo(torch.int64).max
    return torch.where(seen, steps, torch.ones_like(steps))


def _planes(corners: Tensor, depths: Tensor) -> Tensor:
    """Return N x 4 x 3: coefficients of the three corner weights and of depth over the picture."""
    area = _area(corners)[:, None]
    planes = []
    for one, two in ((1, 2), (2, 0), (0, 1)):
        p, q = corners[:, one], corners[:, two]
        # Negative: rows run down, so counterclockwise corners enclose a negative area.
        slope = torch.stack([p[:, 1] - q[:, 1], q[:, 0] - p[:, 0]], 1)
        offset = p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]
        planes.append(torch.cat([slope, offset[:, None]], 1) / -area)
    weights = torch.stack(planes, 1)
    return torch.cat([weights, (weights * depths[:, :, None]).sum(1, keepdim=True)], 1)


def _weights(vertices: Tensor, triangles: Tensor, triangle: Tensor) -> Tensor:
    """Return perspective-correct weights of the corners, differentiable in `vertices`."""
    batch, height, width = triangle.shape
    seen = (triangle != NOTHING).view(-1).nonzero()[:, 0]
    corners = triangles[triangle.view(-1)[seen]]
    points = picked(vertices, corners)
    points = torch.cat([points[..., :2], points[..., 3:]], -1)
    column = (seen % width + 0.5) * (2 / width) - 1
    row = 1 - (seen // width % height + 0.5) * (2 / height)
    pixel = torch.stack([column, row], 1).to(vertices.dtype)[:, None]
    away = points[..., :2] - pixel * points[..., 2:]
    one, two = away.roll(-1, 1), away.roll(1, 1)
    shares = one[..., 0] * two[..., 1] - one[..., 1] * two[..., 0]
    shares = shares / shares.sum(1, keepdim=True)
    weights = shares.new_zeros(batch * height * width, 3).index_put((seen,), shares)
    return weights.view(batch, height, width, 3)


def _screen(vertices: Tensor, size: tuple[int, int]) -> Tensor:
    """Return x and y in pixels, from the upper left corner of the picture."""
    height, width = size
    ndc = vertices[..., :2] / vertices[..., 3:].clamp(min=1e-9)
    return torch.stack([(ndc[..., 0] + 1) * (width / 2), (1 - ndc[..., 1]) * (height / 2)], -1)


def _area(corners: Tensor) -> Tensor:
    """Return twice the area of triangles (... x 3 x 2 pixels), positive if they face the viewer."""
    a, b, c = corners.unbind(-2)
    one, two = b - a, c - a
    return one[..., 1] * two[..., 0] - one[..., 0] * two[..., 1]


def _blend(
    colors: Tensor,
    triangle: Tensor,
    depth: Tensor,
    screen: Tensor,
    facing: Tensor,
    triangles: Tensor,
    neighbors: Tensor,
    axis: int,
) -> tuple[Tensor, Tensor]:
    """Return how the first and the second pixel of each pair along `axis` change."""
    length = triangle.shape[axis]
    first = triangle.narrow(axis, 0, length - 1)
    second = triangle.narrow(axis, 1, length - 1)
    nearer = depth.narrow(axis, 0, length - 1) <= depth.narrow(axis, 1, length - 1)
    near = torch.where(nearer, first, second)
    pairs = ((first != second) & (near != NOTHING)).nonzero()
    picture, row, column = pairs.unbind(1)
    owner = near[picture, row, column]
    corners = picked(screen, triangles[owner])
    across = neighbors[owner]
    same = facing[across.clamp(min=0)] == facing[owner][:, None]
    outline = (across == NOTHING) | ~same
    # Along the pair, and across it; the first centre is the origin.
    along, aside = (0, 1) if axis == 2 else (1, 0)
    origin = torch.stack([column, row], 1).to(screen.dtype) + 0.5
    points = corners - origin[:, None]
    starts, ends = points.roll(-1, 1), points.roll(1, 1)
    run, rise = (ends - starts)[..., along], (ends - starts)[..., aside]
    crosses = (starts[..., aside] > 0) != (ends[..., aside] > 0)
    crosses &= outline & (run.abs() <= rise.abs())
    safe = torch.where(crosses, rise, torch.ones_like(rise))
    place = starts[..., along] - starts[..., aside] / safe * run
    crosses = crosses & (place >= 0) & (place <= 1)
    edge = crosses.int().argmax(1, keepdim=True)
    place = place.gather(1, edge)[:, 0]
    hit = crosses.any(1).to(place.dtype)
    # The nearer surface reaches `place` from the first centre, or from there to the second.
    reach = torch.where(nearer[picture, row, column], place, 1 - place)
    gives = (reach - 0.5).clamp(min=0) * hit
    takes = (0.5 - reach).clamp(min=0) * hit
    is_first = nearer[picture, row, column].to(place.dtype)
    here = (picture, row, column)
    number = (picture * triangle.shape[1] + row) * triangle.shape[2] + column
    flat = colors.flatten(0, 2)
    one = picked(flat, number)
    two = picked(flat, number + (1 if axis == 2 else triangle.shape[2]))
    to_first = is_first * takes + (1 - is_first) * gives
    to_second = is_first * gives + (1 - is_first) * takes
    shape = colors.narrow(axis, 0, length - 1)
    change_first = torch.zeros_like(shape).index_put(here, to_first[:, None] * (two - one))
    change_second = torch.zeros_like(shape).index_put(here, to_second[:, None] * (one - two))
    return change_first, change_second
