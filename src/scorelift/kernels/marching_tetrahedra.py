"""The surface of signed distances on tetrahedra as an indexed triangle mesh, differentiable in places and distances.

Values are negative inside, as a signed distance's are; 0 counts as outside. Each edge whose ends differ in sign holds
one point, shared by all triangles around it: the mesh is watertight wherever the surface stays within the tetrahedra.

Ref: Doi and Koide, "An efficient method of triangulating equi-valued surfaces" (1991); Shen et al., "Deep marching
tetrahedra" (2021), Sec. 3.1.3.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ALL_INSIDE = 0x01010101
"Four signs in one word."
SMALLEST = 1e-12
"Difference of the distances along an edge below which its point moves no faster with them."
FAN = ((0, 1), (0, 2), (0, 3))
"Edges crossed where the first corner is alone on its side ..."
RING = ((0, 2), (0, 3), (1, 3), (1, 2))
"... and, in turn, where the first two are inside and the others outside."


def _orders() -> list[tuple[int, ...]]:
    """For each of the 16 patterns of signs, the order of the corners in which `FAN` or `RING` looks outward.

    An even permutation keeps a tetrahedron's orientation. A corner alone outside is seen from the other side than one
    alone inside: it needs an odd one.
    """
    orders = []
    for case in range(16):
        inside = [corner for corner in range(4) if case >> corner & 1]
        first = inside if len(inside) < 3 else [corner for corner in range(4) if corner not in inside]
        for order in permutations(range(4)):
            swaps = sum(order[i] > order[j] for i in range(4) for j in range(i + 1, 4))
            if sorted(order[: len(first)]) == first and swaps % 2 == (len(inside) == 3):
                orders.append(order)
                break
    return orders


ORDERS = _orders()
_TABLE = np.array(ORDERS)


def marching_tetrahedra(
    vertices: Float[Tensor, "v 3"], values: Float[Tensor, " v"], tetrahedra: Int[Tensor, "t 4"]
) -> tuple[Float[Tensor, "p 3"], Int[Tensor, "f 3"]]:
    """Points and faces (counter-clockwise seen from outside) of the surface where the values are 0; empty without one.

    A value of exactly 0 puts several points in one place: the faces between them have no area.

    Args:
        vertices: of the tetrahedra; what they are moved by moves the points.
        values: signed distances at the vertices, negative inside.
        tetrahedra: four vertices a, b, c, d each, such that (b - a) x (c - a) . (d - a) > 0.

    >>> corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> marching_tetrahedra(corners, torch.tensor([-1.0, 1, 1, 3]), torch.tensor([[0, 1, 2, 3]]))
    (tensor([[0.5000, 0.0000, 0.0000],
            [0.0000, 0.5000, 0.0000],
            [0.0000, 0.0000, 0.2500]]), tensor([[0, 1, 2]]))
    """
    ends, faces = crossings(values.detach() < 0, tetrahedra)
    # index_select and not brackets: its gradient is index_add_, which is several times faster.
    flat = ends.reshape(-1)
    return between(vertices.index_select(0, flat).view(2, -1, 3), values.index_select(0, flat).view(2, -1)), faces


def between(places: Float[Tensor, "2 p 3"], values: Float[Tensor, "2 p"]) -> Float[Tensor, "p 3"]:
    """Where the surface crosses edges, given their ends and the values there, of different signs."""
    first, second = values.abs()
    share = (first / (first + second).clamp_min(SMALLEST))[:, None]
    start, stop = places
    return start + share * (stop - start)


@torch.no_grad()
def crossings(inside: Bool[Tensor, " v"], tetrahedra: Int[Tensor, "t 4"]) -> tuple[Tensor, Tensor]:
    """Edges, as pairs of vertices (2, p), that the surface crosses, and the triangles (f, 3) between them."""
    if inside.device.type == "cpu":
        from .topology_cpu import crossings as compiled

        return compiled(inside, tetrahedra, _TABLE)
    return crossings_reference(inside, tetrahedra)


@torch.no_grad()
def crossings_reference(
    inside: Bool[Tensor, " v"], tetrahedra: Int[Tensor, "t 4"]
) -> tuple[Int[Tensor, "2 p"], Int[Tensor, "f 3"]]:
    """The same on any device, in another order."""
    signs = inside.view(torch.uint8).index_select(0, tetrahedra.reshape(-1)).view(torch.int32)
    crossed = ((signs != 0) & (signs != ALL_INSIDE)).nonzero()[:, 0]
    corner = tetrahedra.index_select(0, crossed).long()
    bits = torch.tensor([1, 2, 4, 8], device=corner.device)
    case = (inside[corner] * bits).sum(1)
    corner = corner.gather(1, torch.tensor(ORDERS, device=corner.device)[case])
    halved = inside[corner[:, :2]].all(1) & ~inside[corner[:, 2:]].any(1)
    fans, rings = corner[~halved][:, FAN], corner[halved][:, RING]
    one, other = torch.cat([fans.view(-1, 2), rings.view(-1, 2)]).unbind(1)
    key = torch.minimum(one, other) * len(inside) + torch.maximum(one, other)
    key, place = torch.unique(key, return_inverse=True)
    fan, ring = place[: 3 * len(fans)].view(-1, 3), place[3 * len(fans) :].view(-1, 4)
    faces = torch.cat([fan, ring[:, [0, 1, 2]], ring[:, [0, 2, 3]]])
    return torch.stack([key // len(inside), key % len(inside)]), faces
