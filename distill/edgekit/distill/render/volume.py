"""Pictures of a signed distance field by volume rendering: what a generator learns shapes from.

A field of distances becomes a density, opaque inside and clear outside with a soft shell of width
`beta` between; a ray gathers colour along it. So a change of the distances anywhere near the
surface changes the picture, and a shape can appear where none was.

Every ray is sampled twice: evenly within a ball, without gradients, and again where the first
samples say that the surface is. Normals are differences of the field at the depth of each pixel:
four calls a ray, and no second derivative, which sampling a plane of features does not have.

Shape key:
    B pictures   S side of a picture   R = S * S rays   N points

Source: VolSDF (Yariv et al. 2021, arXiv:2106.12052), equations 2 and 3; the two rounds of samples
are NeRF's (Mildenhall et al. 2020, arXiv:2003.08934, section 5.2). Left out: the bound on the error
of opacity, by which VolSDF places samples, and a learned `beta`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from edgekit.distill.render.views import Cameras, over, shaded

Distance = Callable[[Tensor], Tensor]
"""Points B x N x 3 to signed distances B x N, negative inside."""
Field = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Points B x N x 3 to signed distances B x N and albedo B x N x 3."""

BETA = 1 / 30
"""Width of the shell between clear and opaque (ScaleDreamer's fixed variance, arXiv:2407.02040)."""
OUTLINE = 1.5
"""How far inside the density begins, in units of `beta`, so that outlines lie where the surface is.

A ray that grazes a ball of radius r loses half of its light at ln(sqrt(2 pi r / beta) / (2 ln 2))
times `beta` outside it: 0.8 for r = 0.05, 2.0 for r = 0.5. Without this, fields grow too thin by as
much, and the mesh is smaller than the pictures that it was made for.
"""
BALL = 1.0
"""Radius of the ball in which rays are sampled."""
STEP = 0.02
"""Distance of the points whose difference is a slope: a third of a texel of a plane of 32."""


@dataclass(frozen=True, slots=True)
class VolumeViews:
    """Pictures of a field, and what losses ask of them."""

    picture: Tensor
    """B x S x S x 3, lit, over the background."""
    opacity: Tensor
    """B x S x S x 1, the share of the pixel that the object hides."""
    depth: Tensor
    """B x S x S, mean distance from the camera; that to the end of the ball where nothing is."""
    slopes: Tensor
    """B x S x S x 3, the field's gradient at the depth of the pixel; its length should be 1."""

    @property
    def normals(self) -> Tensor:
        """B x S x S x 3, unit."""
        return unit(self.slopes)


def volume_views(
    field: Field,
    cameras: Cameras,
    size_px: int,
    backgrounds: Tensor,
    *,
    distance: Distance | None = None,
    coarse: int = 48,
    fine: int = 48,
    beta: float | Tensor = BETA,
    outline: float = OUTLINE,
    generator: torch.Generator | None = None,
) -> VolumeViews:
    """Render `field` for each camera at `size_px`, over one colour a picture (B x 3).

    `distance` is the first half of `field`, if it is cheaper alone. `beta` may be a tensor, which a
    training fills with less and less: a sharper shell shows finer things, but moves shapes less
    far. `generator` (on the device of the cameras) shifts the samples; without one they lie at the
    middles of equal steps, so that the same field gives the same picture. Nothing here waits for
    the device, so a CUDA graph can hold it. Gradients reach the field through its values; places of
    samples have none.
    """
    if distance is None:
        distance = _first(field)
    origins, directions = (each.flatten(1, 2) for each in cameras.rays(size_px))
    near, far = _within_ball(origins, directions)
    steps = _even(near, far, coarse, generator)
    if fine:
        with torch.no_grad():
            density = density_of(_at(distance, origins, directions, steps) + outline * beta, beta)
            weights = _weights(density, _edges(steps, near, far))
            more = _resampled(_edges(steps, near, far), weights, fine, generator)
            steps = torch.cat([steps, more], -1).sort(-1).values
    points = origins[:, :, None] + directions[:, :, None] * steps[..., None]
    sdf, albedo = field(points.flatten(1, 2))
    density = density_of(sdf.view(steps.shape) + outline * beta, beta)
    weights = _weights(density, _edges(steps, near, far))
    opacity = weights.sum(-1, keepdim=True)
    reached = (weights * steps).sum(-1, keepdim=True)
    color = (weights[..., None] * albedo.view(*steps.shape, 3)).sum(2)
    # A ray that meets nothing looks at the middle of the ball.
    middle = (near + far) / 2
    place = (reached + 1e-4 * middle) / (opacity + 1e-4)
    slopes = slopes_at(distance, origins + directions * place)
    color = shaded(color, unit(slopes), cameras)

    def square(values: Tensor) -> Tensor:
        return values.reshape(len(values), size_px, size_px, -1)

    picture = over(square(color), square(opacity), backgrounds)
    depth = square(reached + (1 - opacity) * far)[..., 0]
    return VolumeViews(picture, square(opacity), depth, square(slopes))


def density_of(sdf: Tensor, beta: float | Tensor) -> Tensor:
    """Return how much of the light is lost per unit of length: 1 / `beta` deep inside, 0 far out.

    >>> density_of(torch.tensor([-9.0, 0.0, 9.0]), 0.5).tolist()[:2]
    [2.0, 1.0]
    """
    tail = 0.5 * torch.exp(-sdf.abs() / beta)
    return torch.where(sdf > 0, tail, 1 - tail) / beta


def slopes_at(distance: Distance, points: Tensor, step: float = STEP) -> Tensor:
    """Return the gradient of a field at `points`, B x N x 3, by four values a point.

    Its error grows with `step` times the curvature; with a smaller step rounding takes over where
    the field is computed in bfloat16.
    """
    # (1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1), without a copy that a graph could not hold.
    number = torch.arange(4, device=points.device)
    corners = torch.stack([(number % 3 == 0), number > 1, number % 2 == 1], 1).to(points.dtype)
    corners = corners * 2 - 1
    moved = points[:, :, None] + corners * step
    values = distance(moved.flatten(1, 2)).view(*points.shape[:2], 4)
    return (values[..., None] * corners).sum(2) / (4 * step)


def eikonal_loss(slopes: Tensor) -> Tensor:
    """Return how far a field is from being one of distances: the mean of (|slope| - 1)^2."""
    return (_length(slopes) - 1).square().mean()


def sparsity_loss(opacity: Tensor) -> Tensor:
    """Return what keeps space empty that no picture asks to be filled (ScaleDreamer's term)."""
    return (opacity.square() + 0.01).sqrt().mean()


def unit(vectors: Tensor) -> Tensor:
    """Return directions of vectors, with a gradient that stays finite at zero."""
    return vectors / _length(vectors)[..., None]


def _length(vectors: Tensor) -> Tensor:
    return (vectors.square().sum(-1) + 1e-8).sqrt()


def _first(field: Field) -> Distance:
    def distance(points: Tensor) -> Tensor:
        return field(points)[0]

    return distance


def _at(distance: Distance, origins: Tensor, directions: Tensor, steps: Tensor) -> Tensor:
    points = origins[:, :, None] + directions[:, :, None] * steps[..., None]
    return distance(points.flatten(1, 2)).view(steps.shape)


def _within_ball(origins: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """Return where rays enter and leave the ball, B x R x 1; the same place if they miss it."""
    along = (origins * directions).sum(-1, keepdim=True)
    beside = origins.square().sum(-1, keepdim=True) - along.square()
    half = (BALL**2 - beside).clamp(min=0).sqrt()
    return -along - half, -along + half


def _shares(like: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    """Return ascending numbers from 0 to 1, B x R x `count`, one in each of equal parts."""
    shape = (*like.shape[:2], count)
    parts = torch.arange(count, device=like.device, dtype=like.dtype)
    if generator is None:
        return ((parts + 0.5) / count).expand(shape)
    draws = torch.rand(shape, generator=generator, device=like.device, dtype=like.dtype)
    return (parts + draws) / count


def _even(near: Tensor, far: Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    return near + (far - near) * _shares(near, count, generator)


def _edges(steps: Tensor, near: Tensor, far: Tensor) -> Tensor:
    """Return the borders of the stretches for which samples stand: halfway to their neighbours."""
    return torch.cat([near, (steps[..., 1:] + steps[..., :-1]) / 2, far], -1)


def _weights(density: Tensor, edges: Tensor) -> Tensor:
    """Return the share of a ray's light that ends at each sample."""
    lost = density * (edges[..., 1:] - edges[..., :-1])
    before = lost.cumsum(-1) - lost
    return torch.exp(-before) * (1 - torch.exp(-lost))


def _resampled(
    edges: Tensor, weights: Tensor, count: int, generator: torch.Generator | None
) -> Tensor:
    """Return `count` places on each ray, as dense as `weights` between `edges`."""
    weights = weights + 1e-4
    shares = (weights / weights.sum(-1, keepdim=True)).cumsum(-1)
    shares = F.pad(shares, (1, 0))
    asked = _shares(edges, count, generator).contiguous()
    right = torch.searchsorted(shares, asked, right=True).clamp(1, weights.shape[-1])
    low, high = shares.gather(-1, right - 1), shares.gather(-1, right)
    start, end = edges.gather(-1, right - 1), edges.gather(-1, right)
    inside = ((asked - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    return start + (end - start) * inside
