"""Which triangle each pixel sees, by nvdiffrast, where a GPU and that library are.

It is asked for visibility alone: weights and silhouettes stay ours, so that pictures and gradients are the same with it
and without. Not in the project's extras, for its licence allows no commercial use; written to its documentation and
tested against a stand-in of the same interface, because no GPU was at hand.

Ref: Laine et al., "Modular primitives for high-performance differentiable rendering" (2020).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .raster import NEAR


@cache
def library() -> Any:
    """nvdiffrast.torch, or None where it is not installed."""
    try:
        import nvdiffrast.torch
    except ImportError:
        return None
    return nvdiffrast.torch


@cache
def _context(device: torch.device) -> Any:
    return library().RasterizeCudaContext(device=device)


def visible_nvdiffrast(screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], size: int) -> Int[Tensor, "b h w"]:
    """The nearest triangle at each pixel's centre, -1 for none."""
    depth = screen[..., 2].float()
    low, high = depth.amin(-1, keepdim=True).clamp_min(NEAR), depth.amax(-1, keepdim=True).clamp_min(2 * NEAR)
    low, high = 0.99 * low, 1.01 * high
    # Clip coordinates, of which (x, y, z) / w is in [-1, 1]. Its first row is at y = -1, ours at the top: y grows
    # downward in both.
    place = (2 / size * screen[..., :2].float() - 1) * depth[..., None]
    along = ((high + low) * depth - 2 * high * low) / (high - low)
    clip = torch.cat([place, along[..., None], depth[..., None]], -1)
    seen = []
    for view in range(len(clip)):
        near = (depth[view][faces] < NEAR).any(-1, keepdim=True)
        drawn = torch.where(near, 0, faces).int().contiguous()  # a triangle of one point is not drawn
        pixels, _ = library().rasterize(
            _context(screen.device), clip[view : view + 1].contiguous(), drawn, resolution=[size, size], grad_db=False
        )
        seen.append(pixels[0, ..., 3].long() - 1)
    return torch.stack(seen)
