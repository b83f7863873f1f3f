"""Areas, normals and neighbours of the triangles of an indexed mesh."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

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
    return directions(areas_around(points, faces))


def areas_around(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "p 3"]:
    """Sum of the area vectors of the triangles around each point."""
    if points.device.type == "cpu":
        from .smoothness_cpu import areas_around as compiled

        return compiled(points, faces)
    return areas_around_reference(points, faces)


def areas_around_reference(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "p 3"]:
    """The same in plain PyTorch."""
    areas, total = face_areas(points, faces), torch.zeros_like(points)
    for corner in faces.unbind(1):
        total = total.index_add(0, corner, areas)
    return total


@dataclass(frozen=True)
class Edges:
    """The edges of a mesh, each once."""

    ends: Int[Tensor, "e 2"]
    faces: Int[Tensor, "e 2"]
    "The faces beside it; the second is -1 where the mesh is open."


_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def edges_of(faces: Int[Tensor, "f 3"]) -> Edges:
    """Edges of triangles; an edge of more than two faces is given with the first two.

    They are kept as long as the tensor of faces lives, which is not to be written in.
    """
    if faces not in _known:
        _known[faces] = _edges(faces)
    return _known[faces]


def _edges(faces: Int[Tensor, "f 3"]) -> Edges:
    if faces.device.type == "cpu":
        from .topology_cpu import edges

        return Edges(*edges(faces))
    return edges_reference(faces)


@torch.no_grad()
def edges_reference(faces: Int[Tensor, "f 3"]) -> Edges:
    """The same on any device, in the order of the edges' vertices."""
    start, stop = faces.T.reshape(-1), faces[:, [1, 2, 0]].T.reshape(-1)
    low, high = torch.minimum(start, stop), torch.maximum(start, stop)
    count = int(faces.max()) + 1 if len(faces) else 1
    key, order = (low * count + high).sort(stable=True)
    fresh = torch.ones_like(key, dtype=torch.bool)
    fresh[1:] = key[1:] != key[:-1]
    first = fresh.nonzero()[:, 0]
    second = (first + 1).clamp_max(max(len(key) - 1, 0))
    shared = (key[second] == key[first]) & (second != first)
    one, other = order[first], torch.where(shared, order[second] % max(len(faces), 1), -1)
    return Edges(torch.stack([low[one], high[one]], -1), torch.stack([one % max(len(faces), 1), other], -1))


def face_pairs(faces: Int[Tensor, "f 3"]) -> Int[Tensor, "e 2"]:
    """Faces that share an edge, once for each edge of two faces."""
    pairs = edges_of(faces).faces
    return pairs[pairs[:, 1] >= 0]
