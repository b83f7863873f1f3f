"""A voxel grid integrated along rays without light, on a CPU, in one compiled pass each way.

The reference is `Field.integrate` over the samples of `VoxelField.march`; tests hold this to its values and gradients.
Grids are read as they are; rays are shared out among as many threads as torch uses; each adds gradients to grids of its
own, of which only the rows it wrote in are added up.
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
from .voxel_unlit_passes import add_up, backward, forward

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


class _Integrate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, density: Tensor, features: Tensor, occupied: Any, paths: Paths, settings: Settings) -> Tensor:
        n, channels = density.shape[0], features.shape[-1]
        grids = density.detach().numpy().reshape(-1), features.detach().numpy().reshape(-1)
        out = np.zeros((len(paths.near), channels + 4), np.float32)
        ctx.march = (n, *grids, occupied, paths, settings, tuple(range(channels)), out)
        share(lambda *part: forward(*ctx.march, *part))
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        n, lanes, parts = ctx.march[0], ctx.march[6], torch.get_num_threads()
        channels = len(lanes)
        to_density, to_features = np.zeros((parts, n**3), np.float32), np.zeros((parts, n**3 * channels), np.float32)
        rows = np.zeros((parts, n * n), np.bool_)
        given: tuple[Any, ...] = (*ctx.march, grad.contiguous().numpy())
        share(lambda part, parts: backward(*given, to_density[part], to_features[part], rows[part], part, parts))  # type: ignore[call-arg]
        if parts > 1:
            share(lambda *part: add_up(n, lanes, to_density, to_features, rows, *part))
        found = to_density[0].reshape(n, n, n, 1), to_features[0].reshape(n, n, n, channels)
        return *(torch.from_numpy(part) for part in found), None, None, None  # type: ignore[return-value]


def integrate(
    density: Float[Tensor, "x y z 1"], features: Float[Tensor, "x y z c"], occupied: Bool[Tensor, "x y z"],
    paths: Paths, settings: Settings,
) -> Float[Tensor, "r sums"]:  # fmt: skip
    """Integrate raw density and feature grids over [-1, 1]^3 along rays; float32, on the CPU.

    Returns:
        sums of w times features, then the columns OPACITY, DEPTH and FOG, and one more; differentiable in the grids.
    """
    return _Integrate.apply(density, features, occupied.numpy().reshape(-1), paths, settings)
