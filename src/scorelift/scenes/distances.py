"""Signed distances to the surface at which a density reaches a level: how a volume becomes a mesh scene.

The surface is marched once in the logarithm of the density, which is nearer to linear across a surface than the density
itself; specks beside it are left out, for no gradient removes them. What the lattice then holds are true distances to
that mesh, so that their gradient has length 1 whatever the density was like, and one learning rate fits all.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from torch import Tensor

from ..core.errors import EmptySceneError, check_positive
from ..kernels.marching_tetrahedra import marching_tetrahedra

CLIP = 2.0
"Bound of the log density over the level: alike on both sides, so that no side pulls the surface."
NEAR = 4.0
"Distances below so many (root mean square) sides of a triangle are measured to triangles, others to their centres."
AROUND = 12
"Triangles, with centres nearest to a vertex, among which the nearest is looked for."
THINNING = 16.0
"Centres in a row along the distance up to which they are looked at."
SPECK = 0.02
"Parts with less than this fraction of the largest one's vertices are dropped, as when a mesh is exported."
PART = 65_536
"Vertices taken at a time."


@torch.no_grad()
def signed_distances(
    density: Callable[[Tensor], Tensor],
    level: float,
    vertices: Float[Tensor, "v 3"],
    tetrahedra: Int[Tensor, "t 4"],
    *,
    outside: Bool[Tensor, " v"] | None = None,
) -> Float[Tensor, " v"]:
    """Distances of vertices from the surface, negative inside, in the vertices' unit of length.

    Args:
        density: of points (n 3), as (n).
        level: the density at the surface; more is inside.
        outside: vertices that are outside whatever the density, as `tetrahedra.boundary_vertices`: they close the
            surface.

    Raises:
        EmptySceneError: if the density is nowhere above the level, or everywhere.
    """
    check_positive("level", level)
    found = torch.cat([density(part) for part in vertices.split(PART)]).to(vertices.dtype)
    values = -(found.clamp_min(1e-12) / level).log().clamp(-CLIP, CLIP)
    if outside is not None:
        values = values.masked_fill(outside, CLIP)
    values = without_specks(values, tetrahedra)
    points, faces = marching_tetrahedra(vertices, values, tetrahedra)
    if len(faces) == 0:
        low, high = float(found.min()), float(found.max())
        raise EmptySceneError(
            f"mesh: the scene has no surface where its density is {level:.3g} (it goes from {low:.3g} to {high:.3g}). "
            "Try another --seed, more --steps, or weaker emptiness and opacity penalties."
        )
    distance = _distances(vertices.cpu().double().numpy(), points[faces].cpu().double().numpy())
    return torch.from_numpy(distance).to(values).copysign(values)


def without_specks(values: Float[Tensor, " v"], tetrahedra: Int[Tensor, "t 4"]) -> Float[Tensor, " v"]:
    """The values, positive also in small parts that hang together with nothing."""
    inside = values < 0
    within = tetrahedra[inside[tetrahedra].sum(1) > 1].cpu()
    one, other = within[:, [0, 0, 0, 1, 1, 2]].reshape(-1), within[:, [1, 2, 3, 2, 3, 3]].reshape(-1)
    both = (inside.cpu()[one] & inside.cpu()[other]).numpy()
    ends = one.numpy()[both], other.numpy()[both]
    _, part = connected_components(coo_array((np.ones(len(ends[0]), bool), ends), shape=(len(values),) * 2))
    sizes = np.bincount(part[inside.cpu().numpy()], minlength=part.max() + 1)
    speck = torch.from_numpy((sizes < SPECK * sizes.max())[part]).to(values.device)
    return torch.where(inside & speck, values.abs(), values)


def _distances(points: Float[np.ndarray, "n 3"], triangles: Float[np.ndarray, "f 3 3"]) -> Float[np.ndarray, " n"]:
    """Distances of points from the nearest triangle; of far points, to a tenth, from centres of triangles."""
    side = np.sqrt(np.square(triangles - np.roll(triangles, 1, axis=1)).sum(-1).mean())
    centres, reach = triangles.mean(1), NEAR * side
    distance = _to_centres(points, centres, reach)
    near, tree = np.nonzero(distance < reach)[0], cKDTree(centres)
    for part in np.array_split(near, len(near) // PART + 1):
        _, around = tree.query(points[part], k=np.arange(1, min(AROUND, len(triangles)) + 1))
        distance[part] = _to_triangles(points[part, None], triangles[around]).min(1)
    return distance


def _to_centres(
    points: Float[np.ndarray, "n 3"], centres: Float[np.ndarray, "f 3"], reach: float
) -> Float[np.ndarray, " n"]:
    """Distances from the nearest of the centres, of which the fewer are looked at the farther they are.

    In a tree of all of them, a point to which many are about equally near, as the middle of a ball, takes long.
    """
    distance, left = np.empty(len(points)), np.arange(len(points))
    while len(left):
        found, _ = cKDTree(centres).query(points[left], distance_upper_bound=reach, workers=torch.get_num_threads())
        near = np.isfinite(found)
        distance[left[near]] = found[near]
        left, reach = left[~near], 2 * reach
        _, kept = np.unique(np.floor(centres * (THINNING / reach)), axis=0, return_index=True)
        centres = centres[kept]
    return distance


def _to_triangles(
    point: Float[np.ndarray, "*n 1 3"], triangle: Float[np.ndarray, "*n k 3 3"]
) -> Float[np.ndarray, "*n k"]:
    """Distance from a triangle: from its plane where the point is above it, else from the nearest side."""
    squares, above = [], True
    normal = np.cross(triangle[..., 1, :] - triangle[..., 0, :], triangle[..., 2, :] - triangle[..., 0, :])
    for corner in range(3):
        start, side = triangle[..., corner, :], triangle[..., corner - 2, :] - triangle[..., corner, :]
        away = point - start
        share = (away * side).sum(-1) / np.maximum(np.square(side).sum(-1), 1e-30)
        squares.append(np.square(away - share.clip(0, 1)[..., None] * side).sum(-1))
        above = above & ((np.cross(side, away) * normal).sum(-1) > 0)
    height = np.abs((away * normal).sum(-1)) / np.maximum(np.linalg.norm(normal, axis=-1), 1e-30)
    return np.where(above, height, np.sqrt(np.min(squares, 0)))
