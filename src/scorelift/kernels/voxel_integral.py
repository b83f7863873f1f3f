"""A voxel grid integrated along lit rays on a CPU, in one compiled pass each way; unlit ones are `voxel_unlit`'s.

The reference is `Field.integrate` over the samples of `VoxelField.march`; tests hold this to its values and gradients.
Rays are shared out among as many threads as torch uses; each adds gradients to records of its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..core.errors import bad
from .composite import BETA, SPENT
from .threads import share
from .voxel_passes import DEPTH, FOG, NORMAL, OPACITY, SUMS, TURNED, backward, forward
from .voxel_records import FEATURES, RECORD, add_up, fill, hand_out

__all__ = [
    "DEPTH",
    "FEATURES",
    "FOG",
    "NORMAL",
    "OPACITY",
    "TURNED",
    "Paths",
    "integrate",
]


class Paths(NamedTuple):
    """Rays as the compiled passes read them: where they enter and leave the field, and the light of each."""

    origin: Float[np.ndarray, "r 3"]
    direction: Float[np.ndarray, "r 3"]
    jitter: Float[np.ndarray, " r"]
    near: Float[np.ndarray, " r"]
    far: Float[np.ndarray, " r"]
    light: Float[np.ndarray, "r 3"]
    ambient: Float[np.ndarray, " r"]


class _Integrate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, density: Tensor, features: Tensor, occupied: Any, paths: Paths, settings: Any) -> Tensor:
        n, channels = density.shape[0], features.shape[-1]
        raw, rays = density.detach().numpy().reshape(-1), len(paths.near)
        flat = features.detach().numpy().reshape(-1, channels)
        records = np.zeros((n**3, RECORD), np.float32)
        share(lambda *part: fill(n, raw, flat, records, *part))
        out = np.zeros((rays, SUMS), np.float32)
        ctx.march = (n, channels, records, occupied, paths, *settings, out)
        share(lambda *part: forward(*ctx.march, *part))
        ctx.raw, ctx.textureless = raw, settings[2]
        return torch.from_numpy(out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        n, channels, records = ctx.march[:3]
        upstream = grad.contiguous().numpy()
        to_records = np.empty((torch.get_num_threads(), *records.shape), np.float32)
        share(lambda *part: backward(*ctx.march, upstream, to_records[part[0]], *part))
        share(lambda *part: add_up(n, ctx.raw, to_records, *part))
        to_density, to_features = np.empty((n, n, n, 1), np.float32), np.empty((n, n, n, channels), np.float32)
        flat = to_density.reshape(-1), to_features.reshape(-1, channels)
        share(lambda *part: hand_out(n, to_records[0], *flat, *part))
        seen = None if ctx.textureless else torch.from_numpy(to_features)
        return torch.from_numpy(to_density), seen, None, None, None


def integrate(
    density: Float[Tensor, "x y z 1"], features: Float[Tensor, "x y z c"], occupied: Bool[Tensor, "x y z"],
    paths: Paths, *, delta: float, scale: float, textureless: bool,
) -> Float[Tensor, "r sums"]:  # fmt: skip
    """Integrate raw density and feature grids over [-1, 1]^3 along rays; float32, on the CPU.

    Args:
        features: at most `FEATURES` channels.
        delta: distance between samples.
        scale: density = scale * softplus(raw).
        textureless: whether features count as white; else they are colours, through a sigmoid.

    Returns:
        sums of w times features, then the columns OPACITY to NORMAL; differentiable in the grids, all but FOG_SLOPE.

    Raises:
        ScoreliftError: for more features than a record holds.
    """
    if features.shape[-1] > FEATURES:
        raise bad("features", expected=f"at most {FEATURES} channels", got=features.shape[-1])
    settings = (np.float32(delta), np.float32(scale), textureless, np.float32(SPENT), np.float32(BETA))
    return _Integrate.apply(density, features, occupied.numpy().reshape(-1), paths, settings)
