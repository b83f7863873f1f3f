"""Perturb-and-average scoring.

Ref: Wang et al., "Score Jacobian Chaining" (2022), Sec. 4.1: the score of a picture that carries no noise, at the level
sqrt(2) sigma, is the mean over noise n of score(z + sigma n, sigma) (Eq. 15); leaving out the noise itself, whose mean
is 0, changes the mean not at all and the variance much (Eq. 16). The optimizer's momentum does the averaging (App. A3),
or `Stage.draws`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..priors.base import Prior
from .base import Distilled, Terms


@dataclass(frozen=True, kw_only=True)
class SJC:
    """Minus the score of the render under classifier-free guidance."""

    cfg_scale: float = 101.0
    "The paper's scale 100 is 101 in our convention."
    perp_neg: float = 0.0
    "Strength of guidance away from the other views (Perp-Neg); 0: none."
    variance_reduced: bool = True
    "(z - D) / sigma^2 (Eq. 16) instead of (z + sigma n - D) / sigma^2 (Eq. 15)."

    @torch.no_grad()
    def __call__(self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor) -> Distilled:
        x0 = terms.guidance(self.cfg_scale, perp_neg=self.perp_neg).x0(prior, level.add_noise(z, noise), level)
        sigma = level.sigma_ve.to(z).view(-1, 1, 1, 1)
        start = z if self.variance_reduced else z + sigma * noise
        return Distilled((start - x0) / sigma**2, x0)
