"""Areas, normals and neighbours of the triangles of an indexed mesh."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

FLAT = 1e-3
"Triangles below this share of the mean area have normals that turn at a touch."
LOST = 1e-8
"Area vectors below this share of their mean length are round-off."


def face_areas(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "f 3"]:
    """Area vectors of triangles: their normals (outward where counter-clockwise from outside), as long as their areas.

    >>> face_areas(torch.tensor([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2]]))
    tensor([[0., 0., 1.]])
    """
    a, b, c = (points.index_select(0, corner) for corner in faces.unbind(1))
    return torch.linalg.cross(b - a, c - a) / 2


def directions(vectors: Float[Tensor, "n 3"], least: float = LOST) -> Float[Tensor, "n 3"]:
    """Unit vectors; 0 where a vector is shorter than `least` times the mean: so the gradient is finite everywhere."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    long = length > least * length.detach().mean()
    return torch.where(long, vectors / torch.where(long, length, 1), 0)


def vertex_normals(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "p 3"]:
    """Unit normals at a mesh's points: of the sum of the area vectors around each; 0 where that vanishes."""
    areas = face_areas(points, faces)
    total = torch.zeros_like(points)
    for corner in faces.unbind(1):
        total = total.index_add(0, corner, areas)
    return directions(total)


@torch.no_grad()
def face_pairs(faces: Int[Tensor, "f 3"]) -> Int[Tensor, "e 2"]:
    """Faces that share an edge, once for each edge of two faces. Of the n > 2 faces of an edge, n - 1 pairs."""
    if len(faces) == 0:
        return faces.new_zeros(0, 2)
    start, stop = faces.reshape(-1).long(), faces[:, [1, 2, 0]].reshape(-1).long()
    key = torch.minimum(start, stop) * (faces.max() + 1) + torch.maximum(start, stop)
    key, order = key.sort()
    face = order // 3
    shared = key[1:] == key[:-1]
    return torch.stack([face[:-1][shared], face[1:][shared]], -1)
