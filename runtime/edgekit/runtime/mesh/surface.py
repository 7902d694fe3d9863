"""A mesh in memory, and what can be said about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from edgekit.core.errors import QualityFailed
from edgekit.core.tensors import Batch, Photo, Triangles, Vertices

SMALLEST_SHARE = 0.02
"""Pieces with less than this share of the largest piece's area are crumbs of the field."""
_LEAST = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles in the world (x right, y up, z towards the viewer), counter-clockwise outside.

    With `uvs` (0 ... 1, the first row of the texture at v = 0, as in glTF) vertices stand once a
    chart of the texture, so that places on a seam are there more than once; `welded` undoes that.
    """

    vertices: Vertices
    triangles: Triangles
    colors: Vertices | None = None
    """sRGB 0 ... 1 a vertex."""
    uvs: Batch | None = None
    """V x 2."""
    texture: Photo | None = None
    normals: Vertices | None = None
    """Of length 1; None means that they follow from the triangles (`vertex_normals`)."""


@dataclass(frozen=True, slots=True)
class MeshFacts:
    """What a file of a mesh is judged by."""

    vertices: int
    triangles: int
    open_edges: int
    """Edges without exactly one triangle on each side; 0 means watertight."""
    pieces: int
    volume: float

    @property
    def watertight(self) -> bool:
        """Whether every edge has one triangle on each side, and the inside is inside."""
        return self.open_edges == 0 and self.volume > 0


def facts_of(mesh: Mesh) -> MeshFacts:
    """Measure `mesh`, after seams of a texture are closed."""
    whole = welded(mesh)
    pieces = piece_of_triangle(whole)
    return MeshFacts(
        len(mesh.vertices),
        len(mesh.triangles),
        num_open_edges(whole.triangles),
        int(pieces.max(initial=-1)) + 1,
        volume(whole),
    )


def num_open_edges(triangles: Triangles) -> int:
    """Return how many edges lack a partner: a closed surface runs along each in both directions.

    >>> num_open_edges(np.array([[0, 1, 2]]))
    3
    >>> num_open_edges(np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]))
    0
    """
    ends = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    count = int(triangles.max(initial=0)) + 1
    low, high = ends.min(axis=1), ends.max(axis=1)
    _, which = np.unique(low * count + high, return_inverse=True)
    there = np.bincount(which, weights=ends[:, 0] == low)
    back = np.bincount(which, weights=ends[:, 0] != low)
    return int(((there != 1) | (back != 1)).sum())


def volume(mesh: Mesh) -> float:
    """Return the volume inside; negative if the triangles look inward."""
    a, b, c = mesh.vertices[mesh.triangles].astype(np.float64).transpose(1, 0, 2)
    return float((a * np.cross(b, c)).sum() / 6)


def face_normals(mesh: Mesh) -> Vertices:
    """Return the normal of each triangle, as long as twice its area."""
    a, b, c = mesh.vertices[mesh.triangles].transpose(1, 0, 2)
    crossed: Vertices = np.cross(b - a, c - a)
    return crossed


def vertex_normals(mesh: Mesh) -> Vertices:
    """Return unit normals of the vertices: the mean of their triangles, by area."""
    faces = face_normals(mesh)
    count = len(mesh.vertices)
    sums = np.stack(
        [
            np.bincount(mesh.triangles.ravel(), np.repeat(faces[:, axis], 3), count)
            for axis in range(3)
        ],
        axis=1,
    )
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    sums = np.where(lengths > _LEAST, sums, (0.0, 0.0, 1.0))
    unit: Vertices = (sums / np.maximum(np.linalg.norm(sums, axis=1), _LEAST)[:, None]).astype(
        np.float32
    )
    return unit


def welded(mesh: Mesh) -> Mesh:
    """Return the bare surface with each place once, as it was before its texture cut it."""
    places, which = np.unique(mesh.vertices, axis=0, return_inverse=True)
    return Mesh(places, which.reshape(-1)[mesh.triangles])


def piece_of_triangle(mesh: Mesh) -> Batch:
    """Return the number 0, 1 ... of the connected piece that each triangle is part of."""
    ends = mesh.triangles[:, [0, 1, 1, 2]].reshape(-1, 2)
    count = len(mesh.vertices)
    joined = coo_matrix((np.ones(len(ends), bool), ends.T), shape=(count, count))
    _, labels = connected_components(joined, directed=False)
    _, pieces = np.unique(labels[mesh.triangles[:, 0]], return_inverse=True)
    numbers: Batch = pieces.reshape(-1)
    return numbers


def without_crumbs(mesh: Mesh, *, smallest: float = SMALLEST_SHARE) -> Mesh:
    """Drop pieces with less than `smallest` of the largest one's area, and hollows inside others.

    A field has both where it was never looked at: specks in the air, and bubbles in the inside,
    whose triangles look into the bubble. Raises QualityFailed if nothing is left.
    """
    pieces = piece_of_triangle(mesh)
    a, b, c = mesh.vertices[mesh.triangles].astype(np.float64).transpose(1, 0, 2)
    areas = np.bincount(pieces, np.linalg.norm(np.cross(b - a, c - a), axis=1))
    volumes = np.bincount(pieces, (a * np.cross(b, c)).sum(axis=1))
    kept = (areas >= smallest * areas.max(initial=0)) & (volumes > 0)
    if not kept.any():
        raise QualityFailed(
            "there is no surface with an inside",
            hint="use a prompt of the words that the generator was trained on, or train it longer",
        )
    return with_triangles(mesh, mesh.triangles[kept[pieces]])


def with_triangles(mesh: Mesh, triangles: Triangles) -> Mesh:
    """Return `mesh` with these triangles, and without vertices that none of them uses."""
    used = np.zeros(len(mesh.vertices), bool)
    used[triangles] = True
    numbers = np.cumsum(used) - 1
    return replace(
        mesh,
        vertices=mesh.vertices[used],
        triangles=numbers[triangles].astype(np.int64),
        **{
            name: value[used]
            for name in ("colors", "uvs", "normals")
            if (value := getattr(mesh, name)) is not None
        },
    )
