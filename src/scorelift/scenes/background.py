"""A learned background."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Single


class Environment(Single):
    """A tiny learned panorama: `size` x `size` colours, or latents, over azimuth and elevation, blended smoothly.

    Ref: SJC's 4 x 4 learned environment (their App. A3).
    """

    def __init__(self, size: int = 4, grey: float = 0.6, latent: int = 0) -> None:
        super().__init__()
        self.latent = latent
        start = 0.0 if latent else math.log(grey / (1 - grey))
        self.colours = nn.Parameter(torch.full((1, latent or 3, size, size), start))

    @torch.no_grad()
    def coloured(self, look: Float[Tensor, "c1 3"]) -> Environment:
        """The panorama in colours, of one of latents."""
        other = Environment(self.colours.shape[-1])
        rgb = torch.einsum("bchw,cd->bdhw", self.colours, look[:-1]) + look[-1].view(1, 3, 1, 1)
        other.colours.copy_(rgb.clamp(0.01, 0.99).logit())
        return other

    def forward(self, direction: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b c h w"]:
        """Colours seen along unit directions."""
        azimuth = torch.atan2(direction[..., 1], direction[..., 0]) / math.pi
        elevation = torch.asin(direction[..., 2].clamp(-1, 1)) * (2 / math.pi)
        place = torch.stack([azimuth, elevation], -1)
        wrapped = torch.cat([self.colours[..., -1:], self.colours, self.colours[..., :1]], -1)
        size = self.colours.shape[-1]
        place = torch.stack([place[..., 0] * size / (size + 2), place[..., 1]], -1)
        seen = F.grid_sample(wrapped.expand(len(place), -1, -1, -1), place, padding_mode="border", align_corners=False)
        return seen if self.latent else seen.sigmoid()
