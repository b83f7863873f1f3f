"""How a grid of numbers changes from place to place."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def slopes(grid: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z 3"]:
    """Unit vectors along the gradient at each place (central differences); shorter where it vanishes."""
    padded = F.pad(grid[None, None], (1, 1, 1, 1, 1, 1), mode="replicate")[0, 0]
    gradient = torch.stack(
        [
            padded[2:, 1:-1, 1:-1] - padded[:-2, 1:-1, 1:-1],
            padded[1:-1, 2:, 1:-1] - padded[1:-1, :-2, 1:-1],
            padded[1:-1, 1:-1, 2:] - padded[1:-1, 1:-1, :-2],
        ],
        dim=-1,
    )
    return gradient / (gradient.square().sum(-1, keepdim=True) + 1e-6).sqrt()


class Roughness(torch.autograd.Function):
    """Mean squared difference of neighbours, summed over axes; the gradient is written in place, not slice by slice."""

    @staticmethod
    def forward(ctx: Any, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        return torch.stack([step.square().mean() for step in _differences(grid)]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (grid,) = ctx.saved_tensors
        gradient = torch.zeros_like(grid)
        for axis, step in enumerate(_differences(grid)):
            step = step * (2 * upstream / step.numel())
            gradient.narrow(axis, 1, len(grid) - 1).add_(step)
            gradient.narrow(axis, 0, len(grid) - 1).sub_(step)
        return gradient


def _differences(grid: Float[Tensor, "x y z"]) -> list[Tensor]:
    return [grid.narrow(a, 1, len(grid) - 1) - grid.narrow(a, 0, len(grid) - 1) for a in range(3)]
