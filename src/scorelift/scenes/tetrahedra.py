"""A body-centred cubic lattice of tetrahedra in [-1, 1]^3, all of one shape.

Its vertices are the corners and the centres of resolution^3 cubes of edge 2 / resolution. Each face between two cubes
makes four tetrahedra, of both centres and one of the face's edges. What is left of the box is a pyramid between each
outer face of a cube and that cube's centre, 1 / resolution of the volume: the lattice's own boundary lies within half
a cube of the box's. The box's eight corners belong to no tetrahedron and are left out.

Ref: Labelle and Shewchuk, "Isosurface stuffing" (2007), Sec. 3.1. Shen et al., "Deep marching tetrahedra" (2021), has
such a grid; their release's "128" has 277 thousand vertices, as many as this one at a resolution of 52.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..core.errors import bad
from ..core.memory import free_bytes

ROOM = 2
"Memory asked for, in sizes of the grid: what is computed on it takes about as much again."


def grid_bytes(resolution: int) -> int:
    """Bytes that the vertices and tetrahedra of a resolution take."""
    n = resolution
    return 3 * 4 * ((n + 1) ** 3 - 8 + n**3) + 4 * 4 * 12 * n * n * (n - 1)


def tetrahedral_grid(resolution: int) -> tuple[Float[Tensor, "v 3"], Int[Tensor, "t 4"]]:
    """Vertices in [-1, 1]^3 and the tetrahedra between them, of equal volume and positive orientation.

    The same tensors are returned every time: they are not to be written in.

    Args:
        resolution: cubes along an edge of the box, at least 4.

    Raises:
        ScoreliftError: if the resolution is none, or its grid does not fit in memory.
    """
    check_grid(resolution)
    return _grid(resolution)


def check_grid(resolution: int) -> None:
    """Raise for a resolution that is none, or whose grid does not fit in memory.

    Raises:
        ScoreliftError: as `tetrahedral_grid`.
    """
    if not isinstance(resolution, int) or resolution < 4:
        raise bad("resolution", expected="a whole number of cubes, at least 4", got=resolution)
    free, needed = free_bytes(), ROOM * grid_bytes(resolution)
    if free is not None and needed > free:
        largest = int(resolution * (free / needed) ** (1 / 3))
        raise bad(
            "resolution",
            expected=f"a grid that fits in the {free / 1e9:.1f} GB of free memory",
            got=resolution,
            remedy=f"It needs {needed / 1e9:.1f} GB; choose about {largest}.",
        )


@lru_cache(maxsize=2)
def _grid(n: int) -> tuple[Tensor, Tensor]:
    corner, centre = _numbers(n)
    axis = torch.linspace(-1, 1, n + 1)
    middle = (axis[1:] + axis[:-1]) / 2
    cubes = torch.cartesian_prod(axis, axis, axis)[corner.view(-1) >= 0]
    vertices = torch.cat([cubes, torch.cartesian_prod(middle, middle, middle)])
    tetrahedra = torch.empty(3, n - 1, n, n, 4, 4, dtype=torch.int32)
    for normal, part in enumerate(tetrahedra):
        # Turned so that the faces' normal comes first, in cyclic order, which keeps the orientation.
        order = [(normal + i) % 3 for i in range(3)]
        centres, face = centre.permute(order), corner.permute(order)[1:-1]
        ring = [face[:, :-1, :-1], face[:, 1:, :-1], face[:, 1:, 1:], face[:, :-1, 1:]]
        for edge in range(4):
            torch.stack([centres[:-1], centres[1:], ring[edge], ring[edge - 3]], -1, out=part[..., edge, :])
    return vertices, tetrahedra.view(-1, 4)


def _numbers(n: int) -> tuple[Int[Tensor, "x y z"], Int[Tensor, "u v w"]]:
    """Which vertices the cubes' corners (-1: none) and their centres are."""
    used = torch.ones(n + 1, n + 1, n + 1, dtype=torch.bool)
    used[::n, ::n, ::n] = False
    corner = used.view(-1).cumsum(0, dtype=torch.int32).view_as(used) - 1
    centre = torch.arange(n**3, dtype=torch.int32).view(n, n, n) + ((n + 1) ** 3 - 8)
    return corner.masked_fill_(~used, -1), centre


def grid_edges(resolution: int) -> Int[Tensor, "e 2"]:
    """The edges of the grid's tetrahedra, each once: of the cubes, between neighbouring centres, from centre to corner.

    Raises:
        ScoreliftError: if the resolution is none.
    """
    check_grid(resolution)
    n = resolution
    corner, centre = _numbers(n)
    rim = torch.zeros(n + 1, dtype=torch.bool)
    rim[::n] = True
    ends = []
    for axis in range(3):
        order = [(axis + i) % 3 for i in range(3)]
        cubes, centres = corner.permute(order), centre.permute(order)
        inner = ~(rim[:, None] & rim).expand(n, -1, -1)  # the box's own twelve edges belong to no tetrahedron
        ends += [(cubes[:-1][inner], cubes[1:][inner]), (centres[:-1].reshape(-1), centres[1:].reshape(-1))]
    for x, y, z in torch.cartesian_prod(*[torch.arange(2)] * 3).tolist():
        near = corner[x : x + n, y : y + n, z : z + n]
        ends.append((near[near >= 0], centre[near >= 0]))
    return torch.cat([torch.stack(pair, -1) for pair in ends])


def boundary_vertices(resolution: int) -> Bool[Tensor, " v"]:
    """Which vertices lie on the grid's boundary. A surface that keeps them outside is closed.

    Raises:
        ScoreliftError: as `tetrahedral_grid`.
    """
    vertices, _ = tetrahedral_grid(resolution)
    return vertices.abs().amax(-1) > 1 - 1.5 / resolution
