"""Regularizers of mesh scenes, each a scalar function of points and faces; 0 for an empty mesh.

On a CPU they are compiled passes that come with their gradients; the plain forms beside them run on any device.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..kernels.triangles import FLAT, directions, edges_of, face_areas, face_pairs, vertex_normals

__all__ = ["laplacian_loss", "normal_consistency_loss", "vertex_normals"]


def laplacian_loss(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, ""]:
    """Mean over points of |mean of the neighbours - point|^2, the umbrella vector: pulls the surface smooth and small.

    Neighbours are counted along the faces' sides, so that each counts once where the mesh is closed; at the border of
    an open one every point misses one of its neighbours. Points of no face add 0.

    Ref: Taubin, "A signal processing approach to fair surface design" (1995), Eq. 3, with equal weights.
    """
    if points.device.type == "cpu":
        from ..kernels.smoothness_cpu import laplacian

        return laplacian(points, faces)
    return laplacian_reference(points, faces)


def laplacian_reference(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, ""]:
    """The same in plain PyTorch."""
    start, stop = faces.T.reshape(-1), faces[:, [1, 2, 0]].T.reshape(-1)
    total = torch.zeros_like(points).index_add(0, start, points.index_select(0, stop))
    count = torch.zeros_like(points[:, :1]).index_add(0, start, torch.ones_like(points[start, :1]))
    umbrella = (total - count * points) / count.clamp_min(1)
    return umbrella.square().sum() / max(len(points), 1)


def normal_consistency_loss(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, ""]:
    """Mean of 1 - cos between the normals of faces that share an edge; pairs with a face of nearly no area left out.

    Marching leaves slivers where the surface passes close by a vertex, about one face in a hundred, with gradients that
    would outweigh all others.
    """
    if points.device.type == "cpu":
        from ..kernels.smoothness_cpu import consistency

        return consistency(points, faces, edges_of(faces).faces, FLAT)
    return normal_consistency_reference(points, faces)


def normal_consistency_reference(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, ""]:
    """The same in plain PyTorch."""
    normals = directions(face_areas(points, faces), FLAT)
    one, other = face_pairs(faces).unbind(1)
    first, second = normals.index_select(0, one), normals.index_select(0, other)
    both = (first.detach().any(1) & second.detach().any(1)).to(points.dtype)
    return (both * (1 - (first * second).sum(-1))).sum() / both.sum().clamp_min(1)
