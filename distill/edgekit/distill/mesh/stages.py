"""The two ways in which a network of fields becomes pictures, and what a step of each costs.

Stage one looks through space (VolSDF): a change anywhere near the surface changes the picture, so
shapes can appear. Stage two looks at the mesh itself, as it will be shipped: it sharpens what is
there, and the corners of the lattice begin to move.

Shape key: B pictures   S side of a picture   N points
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from edgekit.distill.mesh.generator import MeshNetwork, lattice_points
from edgekit.distill.mesh.recipe import MeshRecipe
from edgekit.distill.mesh.regularity import regularity
from edgekit.distill.render.backends import rasterizer_named
from edgekit.distill.render.marching import cut_of, meshes_of
from edgekit.distill.render.mesh_views import mesh_views
from edgekit.distill.render.views import Cameras
from edgekit.distill.render.volume import BETA, eikonal_loss, sparsity_loss, volume_views

LATTICE = 24
"""Cells a side of the lattice on which the shape of a field is kept in order, at most."""


class Seen(NamedTuple):
    """Pictures of a step, and what keeps their shapes in order."""

    pictures: Tensor
    """B x 3 x S x S, from 0 to 1."""
    terms: dict[str, Tensor]
    """Scalars by the name of their weight in the recipe."""


class Renderer(Protocol):
    """A stage's way to look at codes."""

    def __call__(
        self,
        network: MeshNetwork,
        codes: Tensor,
        cameras: Cameras,
        backgrounds: Tensor,
        beta: Tensor | None = None,
    ) -> Seen:
        """Look at each code by the camera of its row, over its row of `backgrounds` (B x 3).

        `beta` is the width of a volume's shell; None is the thin one of the end.
        """
        ...


def volumes(recipe: MeshRecipe, *, lattice: int = LATTICE) -> Renderer:
    """Return the renderer of stage one; shapes are kept in order on `lattice` cells a side."""

    def look(
        network: MeshNetwork,
        codes: Tensor,
        cameras: Cameras,
        backgrounds: Tensor,
        beta: Tensor | None = None,
    ) -> Seen:
        def field(points: Tensor) -> tuple[Tensor, Tensor]:
            found = network.field(codes, points)
            return found.sdf, found.colors

        views = volume_views(
            field,
            cameras,
            recipe.volume_px,
            backgrounds,
            distance=lambda points: network.distance(codes, points),
            coarse=recipe.coarse,
            fine=recipe.fine,
            beta=BETA if beta is None else beta,
        )
        terms = _order(network, codes, lattice)
        terms["eikonal"] = terms["eikonal"] + eikonal_loss(views.slopes)
        terms["sparsity"] = sparsity_loss(views.opacity)
        return Seen(views.picture.permute(0, 3, 1, 2), terms)

    return look


def meshes(recipe: MeshRecipe, *, lattice: int = LATTICE) -> Renderer:
    """Return the renderer of stage two; shapes are kept in order on `lattice` cells a side."""

    def look(
        network: MeshNetwork,
        codes: Tensor,
        cameras: Cameras,
        backgrounds: Tensor,
        beta: Tensor | None = None,
    ) -> Seen:
        cells = network.shape.cells
        with torch.no_grad():
            cut = cut_of(network.on_lattice(codes, cells).sdf, cells)
        # Only the corners next to the surface place vertices: one in eight needs gradients.
        corners = lattice_points(cells, codes.device)[cut.corners.numbers]
        found = network.field(codes, corners)
        made = meshes_of(cut, found.sdf, found.deformation, deform=network.shape.deform)
        views = mesh_views(
            made,
            cameras,
            recipe.mesh_px,
            backgrounds,
            paint=lambda points: network.field(codes, points).colors,
            rasterizer=rasterizer_named("auto", codes.device),
        )
        terms = _order(network, codes, lattice)
        return Seen(views.picture.permute(0, 3, 1, 2), terms)

    return look


def _order(network: MeshNetwork, codes: Tensor, lattice: int) -> dict[str, Tensor]:
    cells = min(lattice, network.shape.cells)
    return regularity(network.on_lattice(codes, cells).sdf, cells)._asdict()
