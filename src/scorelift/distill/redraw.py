"""Toward what the prior makes of a noisy render in several steps: image to image, as a loss on z.

Ref: Meng et al., "SDEdit" (2022); as the last stage of DreamGaussian (Tang et al. 2023), Sec. 3.3 and Eq. 5: unlike one
step of score distillation, whose average over noise is blurred, the sampler's end is a sharp picture to copy. (There
decoded pictures are compared; here z, a latent prior's latents.)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..core.errors import check_at_least
from ..priors.base import Prior
from .base import Distilled, Terms


@dataclass(frozen=True, kw_only=True)
class Redraw:
    """z - x, half the gradient of |z - x|^2, where x is sampled from the noisy z by DDIM."""

    cfg_scale: float = 7.5
    steps: int = 10
    "Levels from the noise down to none, evenly apart in the prior's time."

    def __post_init__(self) -> None:
        check_at_least("steps", self.steps)

    @torch.no_grad()
    def __call__(self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor) -> Distilled:
        guidance, start = terms.guidance(self.cfg_scale), prior.schedule.time(level.sigma_ve)
        least = max(prior.sigma_range[0], 1e-3)
        y, now = z + _like(level.sigma_ve, z) * noise, level.sigma_ve
        for i in range(self.steps):
            x0 = guidance.x0(prior, y * _like(Level.vp(now).alpha_t, z), Level.vp(now))
            x0 = x0.clamp(-prior.bound, prior.bound) if prior.bound else x0
            then = prior.schedule.level(start * (1 - (i + 1) / self.steps)).sigma_ve.to(now).clamp_min(least)
            y, now = x0 + _like(then / now, z) * (y - x0), then
        return Distilled(z - x0, x0)


def _like(value: Tensor, z: Tensor) -> Tensor:
    return value.to(z).view(-1, 1, 1, 1)
