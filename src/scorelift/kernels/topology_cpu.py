"""What belongs together in a mesh, found on a CPU by compiled passes instead of sorts: integers, no gradients.

The edges that end at a vertex are kept in a list of that vertex: `head` names its first entry, `after` the next ones.
Everything comes out in the order in which it is met, so the same mesh always gives the same order.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from .compiling import exact


def crossings(
    inside: Bool[Tensor, " v"], tetrahedra: Int[Tensor, "t 4"], orders: Int[np.ndarray, "16 4"]
) -> tuple[Int[Tensor, "2 p"], Int[Tensor, "f 3"]]:
    """Edges that a surface crosses and the triangles between them, as `marching_tetrahedra.crossings_reference`."""
    found = _crossings(inside.numpy(), tetrahedra.contiguous().numpy(), orders)
    ends, faces = (torch.from_numpy(part) for part in found)
    return ends, faces


def edges(faces: Int[Tensor, "f 3"]) -> tuple[Int[Tensor, "e 2"], Int[Tensor, "e 2"]]:
    """Ends of each edge and the faces beside it, as `triangles.edges_reference`."""
    ends, beside = _edges(faces.contiguous().numpy(), int(faces.max()) + 1 if len(faces) else 0)
    return torch.from_numpy(ends), torch.from_numpy(beside)


@exact
def _entry(one, other, ends, head, after, count):
    """The edge between two vertices, and how many there are with it; a new one is added as the last."""
    low, high = min(one, other), max(one, other)
    at = head[low]
    while at >= 0:
        if ends[1, at] == high:
            return at, count
        at = after[at]
    ends[0, count], ends[1, count] = low, high
    after[count], head[low] = head[low], count
    return count, count + 1


@exact
def _crossings(inside, tetrahedra, orders):
    cut, cases = np.empty(len(tetrahedra), np.int32), np.empty(len(tetrahedra), np.uint8)
    cuts = corners = 0
    for t in range(len(tetrahedra)):
        w, x, y, z = tetrahedra[t]
        case = inside[w] | inside[x] << 1 | inside[y] << 2 | inside[z] << 3
        if case != 0 and case != 15:
            cut[cuts], cases[cuts] = t, case
            cuts += 1
            corners += 4 if inside[w] + inside[x] + inside[y] + inside[z] == 2 else 3
    ends, faces = np.empty((2, corners), np.int64), np.empty((corners - 2 * cuts, 3), np.int64)
    head, after = np.full(len(inside), -1, np.int32), np.empty(corners, np.int32)
    points = made = 0
    for n in range(cuts):
        t, case = cut[n], cases[n]
        a, b = tetrahedra[t, orders[case, 0]], tetrahedra[t, orders[case, 1]]
        c, d = tetrahedra[t, orders[case, 2]], tetrahedra[t, orders[case, 3]]
        if inside[a] and inside[b] and not inside[c] and not inside[d]:  # two and two: a ring a c, a d, b d, b c
            p, points = _entry(a, c, ends, head, after, points)
            q, points = _entry(a, d, ends, head, after, points)
            r, points = _entry(b, d, ends, head, after, points)
            s, points = _entry(b, c, ends, head, after, points)
            faces[made + 1, 0], faces[made + 1, 1], faces[made + 1, 2] = p, r, s
        else:  # one alone: a fan a b, a c, a d
            p, points = _entry(a, b, ends, head, after, points)
            q, points = _entry(a, c, ends, head, after, points)
            r, points = _entry(a, d, ends, head, after, points)
            s = -1
        faces[made, 0], faces[made, 1], faces[made, 2] = p, q, r
        made += 1 if s < 0 else 2
    return np.ascontiguousarray(ends[:, :points]), faces


@exact
def _edges(faces, vertices):
    most = 3 * len(faces)
    ends, beside = np.empty((2, most), np.int64), np.empty((most, 2), np.int64)
    head, after = np.full(vertices, -1, np.int32), np.empty(most, np.int32)
    count = 0
    for f in range(len(faces)):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            known = count
            at, count = _entry(a, b, ends, head, after, count)
            if at == known:
                beside[at, 0], beside[at, 1] = f, -1
            elif beside[at, 1] < 0:
                beside[at, 1] = f
    return np.ascontiguousarray(ends[:, :count].T), beside[:count].copy()
