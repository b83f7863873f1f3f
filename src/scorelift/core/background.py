"""Random backdrops, as studio pictures have them."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


def random_background(
    n: int, size: int, generator: torch.Generator, *, gradient: float = 0.5, tint: float = 0.12
) -> Float[Tensor, "n 3 size size"]:
    """Muted plain colours and straight gradients, as studio pictures have; linear rgb in [0, 1].

    Args:
        gradient: share of pictures with a gradient instead of one colour.
        tint: standard deviation of the colours around grey.
    """
    grey = 0.25 + 0.75 * torch.rand(n, 1, generator=generator)
    ends = (grey + tint * torch.randn(2, n, 3, generator=generator)).clamp(0, 1)
    angle = 2 * math.pi * torch.rand(n, 1, 1, generator=generator)
    axis = torch.linspace(-1, 1, size)
    ramp = (axis[None, :, None] * angle.sin() + axis[None, None, :] * angle.cos()) / (2 * math.sqrt(2)) + 0.5
    ramp = torch.where(torch.rand(n, 1, 1, generator=generator) < gradient, ramp, torch.zeros(()))[:, None]
    return ends[0][..., None, None] * (1 - ramp) + ends[1][..., None, None] * ramp
