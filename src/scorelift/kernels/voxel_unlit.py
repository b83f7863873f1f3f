"""A voxel grid integrated along rays without light, on a CPU, in one compiled pass each way.

The reference is `Field.integrate` over the samples of `VoxelField.march`; tests hold this to its values and gradients.
Grids are read as they are; rays are shared out among as many threads as torch uses; each adds gradients to voxels of
its own, of which only the rows it wrote in are added up. The way forward keeps what it read of each sample that counts
(five numbers, of three channels), so that the way back need not look for it again.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from .composite import BETA, SPENT
from .threads import share
from .voxel_unlit_passes import backward, forward, hand_out

OPACITY, DEPTH, FOG = -4, -3, -2
"Columns of a ray's sums, from the end; before them w times features, behind them what the way back needs."


class Paths(NamedTuple):
    """Rays as the compiled passes read them, and where they enter and leave the field."""

    origin: Float[np.ndarray, "r 3"]
    direction: Float[np.ndarray, "r 3"]
    jitter: Float[np.ndarray, " r"]
    near: Float[np.ndarray, " r"]
    far: Float[np.ndarray, " r"]


class Settings(NamedTuple):
    """Numbers of a field."""

    delta: np.float32
    "Distance between samples."
    scale: np.float32
    "density = scale softplus(raw)"
    colourful: bool
    "Whether features are colours, through a sigmoid."
    spent: np.float32 = np.float32(SPENT)
    beta: np.float32 = np.float32(BETA)


Spare = dict[tuple[int, int], tuple[np.ndarray, np.ndarray]]
"""By shape, threads' gradients of voxels and the rows they wrote in, all zero, for the next way back: new memory would
cost as much as using it."""


class _Integrate(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, density: Tensor, features: Tensor, occupied: Any, paths: Paths, settings: Settings, keep: bool,
        spare: Spare,
    ) -> Tensor:  # fmt: skip
        n, channels = density.shape[0], features.shape[-1]
        grids = density.detach().numpy().reshape(-1), features.detach().numpy().reshape(-1)
        out, lanes = np.zeros((len(paths.near), channels + 4), np.float32), tuple(range(channels))
        chunks = np.zeros(len(out) if keep else 0, np.int32)
        ctx.kept = share(lambda *part: forward(n, *grids, occupied, paths, settings, lanes, out, chunks, *part))
        ctx.march, ctx.spare = (n, paths, settings, lanes, out, chunks), spare
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None, None, None]:
        n, lanes, parts = ctx.march[0], ctx.march[3], len(ctx.kept)
        channels, given = len(lanes), grad.contiguous().numpy()
        shape = parts, n**3 * (channels + 1)
        fresh = ctx.spare.pop(shape, None)
        to_voxels, rows = fresh or (np.zeros(shape, np.float32), np.zeros((parts, n * n), np.bool_))
        share(lambda i, _: backward(*ctx.march, ctx.kept[i], given, to_voxels[i], rows[i], i, parts), parts)
        to_density, to_features = np.empty(n**3, np.float32), np.empty(n**3 * channels, np.float32)
        share(lambda *part: hand_out(n, lanes, to_voxels, rows, to_density, to_features, *part))
        ctx.spare[shape] = to_voxels, rows
        found = to_density.reshape(n, n, n, 1), to_features.reshape(n, n, n, channels)
        return *(torch.from_numpy(part) for part in found), None, None, None, None, None  # type: ignore[return-value]


def integrate(
    density: Float[Tensor, "x y z 1"], features: Float[Tensor, "x y z c"], occupied: Bool[Tensor, "x y z"],
    paths: Paths, settings: Settings, spare: Spare | None = None,
) -> Float[Tensor, "r sums"]:  # fmt: skip
    """Integrate raw density and feature grids over [-1, 1]^3 along rays; float32, on the CPU.

    Args:
        spare: memory of these grids' ways back, kept by their owner.

    Returns:
        sums of w times features, then the columns OPACITY, DEPTH and FOG, and one more; differentiable in the grids.
    """
    keep = torch.is_grad_enabled() and (density.requires_grad or features.requires_grad)
    spare = {} if spare is None else spare
    return _Integrate.apply(density, features, occupied.numpy().reshape(-1), paths, settings, keep, spare)
