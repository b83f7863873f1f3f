"""Trilinear interpolation of a voxel grid at points: a plain reference and a faster form with its own backward.

Grids are (x, y, z, channels), their first and last voxel centres on the bounds [-1, 1].
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable


def corners(points: Float[Tensor, "n 3"], resolution: int) -> tuple[Int[Tensor, "n 8"], Float[Tensor, "n 8"]]:
    """Flat indices and weights of the eight voxels around points in [-1, 1]^3 (clamped to it)."""
    place = ((points + 1) * ((resolution - 1) / 2)).clamp(0, resolution - 1)
    low = place.floor().clamp_max(resolution - 2)
    f = place - low
    x, y, z = low.to(torch.int32).unbind(-1)
    step = torch.tensor([resolution * resolution, resolution, 1], dtype=torch.int32, device=points.device)
    offsets = (torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=torch.int32,
                            device=points.device) * step).sum(-1, dtype=torch.int32)  # fmt: skip
    index = ((x * resolution + y) * resolution + z)[:, None] + offsets
    g = 1 - f
    xy = torch.stack([g[:, 0] * g[:, 1], g[:, 0] * f[:, 1], f[:, 0] * g[:, 1], f[:, 0] * f[:, 1]], -1)
    return index, (xy[:, :, None] * torch.stack([g[:, 2], f[:, 2]], -1)[:, None, :]).reshape(-1, 8)


def trilinear_reference(grid: Float[Tensor, "x y z c"], points: Float[Tensor, "n 3"]) -> Float[Tensor, "n c"]:
    """Interpolate by torch's own grid_sample; differentiable in grid and points."""
    volume = grid.permute(3, 2, 1, 0)[None]
    place = points.clamp(-1, 1)[None, :, None, None]
    return torch.nn.functional.grid_sample(volume, place, align_corners=True)[0, :, :, 0, 0].T


class _Gather(torch.autograd.Function):
    """Weighted sums of rows of a table; the gradient goes to the table alone."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, index: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(index, weight)
        ctx.rows = table.shape[0]
        return torch.nn.functional.embedding_bag(index, table.detach(), per_sample_weights=weight, mode="sum")

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        index, weight = ctx.saved_tensors
        spread = (grad[:, None] * weight[..., None]).reshape(-1, grad.shape[1])
        rows = index.reshape(-1).long()  # torch's index_add_ is many times slower with 32-bit indices
        return grad.new_zeros(ctx.rows, grad.shape[1]).index_add_(0, rows, spread), None, None


def gather(
    grid: Float[Tensor, "x y z c"], index: Int[Tensor, "n 8"], weight: Float[Tensor, "n 8"]
) -> Float[Tensor, "n c"]:
    """Interpolate a cubic grid at places given by `corners`; differentiable in the grid, not in the points."""
    return _Gather.apply(grid.reshape(-1, grid.shape[-1]), index, weight.to(grid.dtype))
