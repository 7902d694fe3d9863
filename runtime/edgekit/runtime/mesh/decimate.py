"""Fewer triangles, and still closed: many edges at once are drawn together where it shows least.

Each round takes the edges whose collapse costs least by the quadric error (the squared distances
to the planes that a vertex stands for), and of these a set in which no two touch neighbouring
vertices, so that all can be collapsed together. An edge is left alone if drawing it together would
join sheets of the surface (its ends must share just two neighbours) or turn a triangle over. What
was closed stays closed.

Source: Garland and Heckbert 1997 (quadrics); Dey et al. 1999 (the condition on neighbours); many
independent collapses a round after Papageorgiou and Platis 2015. Colours are no part of the error:
they are looked up again on the new surface.

Shape key: V vertices   T triangles   E edges   K edges of one round
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix

from edgekit.core.errors import EdgekitError, QualityFailed
from edgekit.core.tensors import Batch, Table, Triangles
from edgekit.runtime.mesh.surface import Mesh, with_triangles

FEWEST = 4
"""Triangles of the smallest closed surface."""
POOL = 0.3
"""Share of the edges, the cheapest, that one round may choose from."""
WIDEST_POOL = 1.0
TURN = 0.3
"""Least cosine between a triangle's normals before and after."""
DRAWS = 3
"""How often lots are drawn for edges that are far enough from those already chosen."""
EVEN = 1e-3
"""What the length of an edge costs beside its error, so that flat places get even triangles."""
PULL = 1e-4
"""How strongly a new vertex is drawn to the middle of its edge where its planes leave it free."""


def decimated(mesh: Mesh, budget: int, *, seed: int = 0) -> Mesh:
    """Return the closed surface `mesh` with at most `budget` triangles, without its colours.

    The same surface, budget and seed give the same triangles. Raises EdgekitError for a budget
    below 4, QualityFailed if the surface would not stay closed with so few.
    """
    check_budget(budget)
    places = mesh.vertices.astype(np.float64)
    triangles = mesh.triangles
    quadrics = _quadrics(places, triangles)
    random = np.random.default_rng(seed)
    pool = POOL
    while len(triangles) > budget:
        wanted = -(-(len(triangles) - budget) // 2)
        edges, targets = _chosen(places, triangles, quadrics, pool, wanted, random)
        if len(edges) == 0:
            if pool == WIDEST_POOL:
                raise QualityFailed(
                    f"the mesh stays closed down to {len(triangles)} triangles, not {budget}",
                    hint=f"ask for at least {len(triangles)} triangles",
                )
            pool = WIDEST_POOL
            continue
        places[edges[:, 0]] = targets
        quadrics[edges[:, 0]] += quadrics[edges[:, 1]]
        merged = np.arange(len(places))
        merged[edges[:, 1]] = edges[:, 0]
        triangles = merged[triangles]
        a, b, c = triangles.T
        triangles = triangles[(a != b) & (b != c) & (c != a)]
    return with_triangles(Mesh(places.astype(np.float32), triangles), triangles)


def check_budget(budget: int) -> None:
    """Raise EdgekitError for a number of triangles that no closed surface has."""
    if budget < FEWEST:
        raise EdgekitError(
            f"a budget of {budget} triangles", hint=f"ask for at least {FEWEST}, better 500"
        )


def _chosen(
    places: Batch,
    triangles: Triangles,
    quadrics: Batch,
    pool: float,
    wanted: int,
    random: np.random.Generator,
) -> tuple[Table, Batch]:
    """Return K edges that can be collapsed together, and the place of the vertex each becomes."""
    halves = triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    edges = halves[halves[:, 0] < halves[:, 1]]
    middles = (places[edges[:, 0]] + places[edges[:, 1]]) / 2
    size = min(max(int(pool * len(edges)), 1), len(edges))
    summed = quadrics[edges[:, 0]] + quadrics[edges[:, 1]]
    lengths = ((places[edges[:, 0]] - places[edges[:, 1]]) ** 2).sum(axis=1)
    errors = _errors(summed, middles) + EVEN * lengths * summed[:, [0, 3, 5]].sum(axis=1)
    cheap = np.argpartition(errors, size - 1)[:size]
    neighbours = csr_matrix(
        (np.ones(len(halves), np.int32), halves.T), shape=(len(places), len(places))
    )
    cheap = cheap[_keeps_sheets(edges[cheap], neighbours)]
    cheap = cheap[_apart(edges[cheap], edges, len(places), random)]
    chosen = edges[cheap]
    summed = quadrics[chosen[:, 0]] + quadrics[chosen[:, 1]]
    targets = _best(summed, middles[cheap])
    kept = np.flatnonzero(_keeps_sides(places, triangles, chosen, targets))
    if len(kept) > wanted:
        worth = _errors(summed[kept], targets[kept])
        kept = kept[np.argpartition(worth, wanted - 1)[:wanted]]
    return chosen[kept], targets[kept]


def _quadrics(places: Batch, triangles: Triangles) -> Batch:
    """Return V x 10: the sum over a vertex's triangles of area * (distance to its plane)^2.

    In the order xx xy xz yy yz zz x y z 1 of the upper half of the symmetric 4 x 4 matrix.
    """
    a, b, c = places[triangles].transpose(1, 0, 2)
    crossed = np.cross(b - a, c - a)
    double_area = np.linalg.norm(crossed, axis=1, keepdims=True)
    x, y, z = normal = (crossed / np.maximum(double_area, 1e-20)).T
    d = -(normal.T * a).sum(axis=1)
    parts = (x * x, x * y, x * z, y * y, y * z, z * z, x * d, y * d, z * d, d * d)
    corners = triangles.ravel()
    return np.stack(
        [
            np.bincount(corners, np.repeat(part * double_area[:, 0], 3), len(places))
            for part in parts
        ],
        axis=1,
    )


def _errors(quadrics: Batch, places: Batch) -> Batch:
    """Return the error of K x 10 quadrics at K x 3 places."""
    q, (x, y, z) = quadrics.T, places.T
    half = q[6] * x + q[7] * y + q[8] * z + q[1] * x * y + q[2] * x * z + q[4] * y * z
    errors: Batch = q[0] * x * x + q[3] * y * y + q[5] * z * z + 2 * half + q[9]
    return errors


def _best(quadrics: Batch, middles: Batch) -> Batch:
    """Return K x 3: where the error of each edge's collapse is least, drawn to its middle."""
    q = quadrics.T
    pull = PULL * (q[0] + q[3] + q[5]) + 1e-18
    xx, xy, xz, yy, yz, zz = q[0] + pull, q[1], q[2], q[3] + pull, q[4], q[5] + pull
    right = pull * middles.T - q[6:9]
    cofactors = (
        (yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy),
        (xz * yz - xy * zz, xx * zz - xz * xz, xy * xz - xx * yz),
        (xy * yz - xz * yy, xy * xz - xx * yz, xx * yy - xy * xy),
    )
    determinant = xx * cofactors[0][0] + xy * cofactors[0][1] + xz * cofactors[0][2]
    rows = [a * right[0] + b * right[1] + c * right[2] for a, b, c in cofactors]
    best: Batch = (np.stack(rows) / np.maximum(determinant, 1e-60)).T
    return best


def _keeps_sheets(edges: Table, neighbours: csr_matrix) -> Batch:
    """Tell which edges have ends with just two common neighbours, each of more than three."""
    degree = np.diff(neighbours.indptr)
    common = neighbours[edges[:, 0]].multiply(neighbours[edges[:, 1]]).tocsr()
    count = np.diff(common.indptr)
    least = np.full(len(edges), 1 << 30)
    rows = np.repeat(np.arange(len(edges)), count)
    np.minimum.at(least, rows, degree[common.indices])
    kept: Batch = (count == 2) & (least > 3)
    return kept


def _apart(
    candidates: Table, edges: Table, num_vertices: int, random: np.random.Generator
) -> Batch:
    """Choose candidates by lot of which no two have ends that are the same or neighbours."""
    chosen = np.zeros(len(candidates), bool)
    left = np.arange(len(candidates))
    for _ in range(DRAWS):
        lots = random.permutation(len(left))
        ends = candidates[left]
        nearest = np.full(num_vertices, len(lots))
        np.minimum.at(nearest, ends.ravel(), np.repeat(lots, 2))
        around = _least_around(nearest, edges)
        winners = (around[ends] == lots[:, None]).all(axis=1)
        chosen[left[winners]] = True
        taken = np.ones(num_vertices, np.int64)
        taken[ends[winners]] = 0
        left = left[(_least_around(taken, edges)[ends] == 1).all(axis=1)]
    return chosen


def _least_around(values: Table, edges: Table) -> Table:
    """Return for each vertex the least of its own value and its neighbours'."""
    least = values.copy()
    np.minimum.at(least, edges[:, 0], values[edges[:, 1]])
    np.minimum.at(least, edges[:, 1], values[edges[:, 0]])
    return least


def _keeps_sides(places: Batch, triangles: Triangles, edges: Table, targets: Batch) -> Batch:
    """Tell which edges turn no triangle over; no triangle touches two of them."""
    owner = np.full(len(places), -1)
    owner[edges] = np.arange(len(edges))[:, None]
    owners = owner[triangles]
    which = owners.max(axis=1)
    touched = (owners >= 0).sum(axis=1) == 1
    which, owners, corners = which[touched], owners[touched], triangles[touched]
    before = places[corners]
    after = np.where((owners >= 0)[:, :, None], targets[which][:, None], before)
    old, new = (np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]) for p in (before, after))
    lengths = np.linalg.norm(old, axis=1) * np.linalg.norm(new, axis=1)
    over = (old * new).sum(axis=1) <= TURN * lengths
    kept: Batch = np.bincount(which[over], minlength=len(edges)) == 0
    return kept
