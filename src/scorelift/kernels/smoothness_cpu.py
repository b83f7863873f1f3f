"""What smooths a mesh, compiled: area vectors summed around points, and two regularizers that know their gradients.

Each is held to its plain form, in `triangles` and in `scenes.mesh_losses`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from .compiling import exact


class _AreasAround(torch.autograd.Function):
    """Sum of the area vectors of the triangles around each point."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, faces: Tensor) -> Tensor:
        ctx.save_for_backward(points, faces)
        return torch.from_numpy(_areas_around(points.detach().contiguous().numpy(), faces.numpy()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        points, faces = ctx.saved_tensors
        grad = _areas_around_back(points.detach().contiguous().numpy(), faces.numpy(), grads[0].contiguous().numpy())
        return torch.from_numpy(grad), None


class _Known(torch.autograd.Function):
    """A scalar of points whose gradient is computed along with it."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, walk: Any, *given: Any) -> Tensor:
        value, gradient = walk(points.detach().contiguous().numpy(), *given)
        ctx.gradient = torch.from_numpy(gradient)
        return points.new_tensor(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return (ctx.gradient * grads[0], *[None] * (len(ctx.needs_input_grad) - 1))


def areas_around(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "p 3"]:
    """As `triangles.areas_around`."""
    return _AreasAround.apply(points, faces.contiguous())


def laplacian(points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, ""]:
    """As `mesh_losses.laplacian_loss`."""
    return _Known.apply(points, _laplacian, faces.contiguous().numpy())


def consistency(
    points: Float[Tensor, "p 3"], faces: Int[Tensor, "f 3"], beside: Int[Tensor, "e 2"], least: float
) -> Float[Tensor, ""]:
    """As `mesh_losses.normal_consistency_loss`; faces below `least` times the mean area are left out.

    Args:
        beside: the faces beside each edge; the second is -1 where the mesh is open.
    """
    return _Known.apply(points, _consistency, faces.contiguous().numpy(), beside.contiguous().numpy(), least)


@exact
def _areas(points, faces):
    """Area vectors of triangles."""
    areas = np.empty((len(faces), 3), points.dtype)
    half = points.dtype.type(0.5)
    for f in range(len(faces)):
        a, b, c = points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]
        x, y, z = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        u, v, w = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        areas[f, 0], areas[f, 1], areas[f, 2] = half * (y * w - z * v), half * (z * u - x * w), half * (x * v - y * u)
    return areas


@exact
def _add_areas_back(points, faces, f, g0, g1, g2, grad):
    """Add to the points' gradient what a face's area vector hands back, given its own gradient."""
    half = points.dtype.type(0.5)
    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
    a, b, c = points[i], points[j], points[k]
    x, y, z = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    u, v, w = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    b0, b1, b2 = half * (v * g2 - w * g1), half * (w * g0 - u * g2), half * (u * g1 - v * g0)
    c0, c1, c2 = half * (g1 * z - g2 * y), half * (g2 * x - g0 * z), half * (g0 * y - g1 * x)
    grad[j, 0] += b0
    grad[j, 1] += b1
    grad[j, 2] += b2
    grad[k, 0] += c0
    grad[k, 1] += c1
    grad[k, 2] += c2
    grad[i, 0] -= b0 + c0
    grad[i, 1] -= b1 + c1
    grad[i, 2] -= b2 + c2


@exact
def _areas_around(points, faces):
    areas, total = _areas(points, faces), np.zeros_like(points)
    for f in range(len(faces)):
        for corner in range(3):
            for axis in range(3):
                total[faces[f, corner], axis] += areas[f, axis]
    return total


@exact
def _areas_around_back(points, faces, given):
    grad = np.zeros_like(points)
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        g0 = given[i, 0] + given[j, 0] + given[k, 0]
        g1 = given[i, 1] + given[j, 1] + given[k, 1]
        g2 = given[i, 2] + given[j, 2] + given[k, 2]
        _add_areas_back(points, faces, f, g0, g1, g2, grad)
    return grad


@exact
def _laplacian(points, faces):
    """Mean squared length of the umbrella vectors, and its gradient."""
    umbrella, count = np.zeros_like(points), np.zeros(len(points), points.dtype)
    for f in range(len(faces)):
        for corner in range(3):
            start, stop = faces[f, corner], faces[f, (corner + 1) % 3]
            count[start] += 1
            for axis in range(3):
                umbrella[start, axis] += points[stop, axis] - points[start, axis]
    value, grad = 0.0, np.zeros_like(points)
    scale = points.dtype.type(2.0 / max(len(points), 1))
    for p in range(len(points)):
        for axis in range(3):
            umbrella[p, axis] /= max(count[p], 1)
            value += umbrella[p, axis] * umbrella[p, axis]
            umbrella[p, axis] *= scale / max(count[p], 1)  # from here on the gradient to the sum of the differences
    for f in range(len(faces)):
        for corner in range(3):
            start, stop = faces[f, corner], faces[f, (corner + 1) % 3]
            for axis in range(3):
                grad[stop, axis] += umbrella[start, axis]
                grad[start, axis] -= umbrella[start, axis]
    return value / max(len(points), 1), grad


@exact
def _consistency(points, faces, beside, least):
    """Mean of 1 - cos between the normals of neighbours that are large enough, and its gradient."""
    normals, length = _areas(points, faces), np.empty(len(faces), points.dtype)
    mean = 0.0
    for f in range(len(faces)):
        length[f] = np.sqrt(normals[f, 0] ** 2 + normals[f, 1] ** 2 + normals[f, 2] ** 2)
        mean += length[f]
    mean /= max(len(faces), 1)
    for f in range(len(faces)):
        if length[f] > least * mean:
            for axis in range(3):
                normals[f, axis] /= length[f]
        else:
            length[f] = 0
    toward, value, count = np.zeros_like(normals), 0.0, 0  # toward: the sum of the normals next door
    for e in range(len(beside)):
        one, other = beside[e, 0], beside[e, 1]
        if other >= 0 and length[one] > 0 and length[other] > 0:
            count += 1
            cosine = 0.0
            for axis in range(3):
                cosine += normals[one, axis] * normals[other, axis]
                toward[one, axis] += normals[other, axis]
                toward[other, axis] += normals[one, axis]
            value += 1 - cosine
    grad, scale = np.zeros_like(points), points.dtype.type(-1.0 / max(count, 1))
    for f in range(len(faces)):
        if length[f] > 0:
            n, t = normals[f], toward[f]
            along = n[0] * t[0] + n[1] * t[1] + n[2] * t[2]
            share = scale / length[f]
            _add_areas_back(points, faces, f, share * (t[0] - along * n[0]), share * (t[1] - along * n[1]),
                            share * (t[2] - along * n[2]), grad)  # fmt: skip
    return value / max(count, 1), grad
