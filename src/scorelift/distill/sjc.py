"""Perturb-and-average scoring.

Ref: Wang et al., "Score Jacobian Chaining" (2022), Sec. 4.1: the score of a picture that carries no noise, at the level
sqrt(2) sigma, is the mean over noise n of score(z + sigma n, sigma) (Eq. 15); leaving out the noise itself, whose mean
is 0, changes the mean not at all and the variance much (Eq. 16). The optimizer's momentum does the averaging (App. A3),
or `Stage.draws`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..core.errors import check_choice
from ..priors.base import Prior
from .base import Distilled, Terms, Weighting, weight


@dataclass(frozen=True, kw_only=True)
class SJC:
    """Minus the score of the render under classifier-free guidance."""

    cfg_scale: float = 100.0
    "The paper's; its code has uncond + scale (cond - uncond), as we do."
    perp_neg: float = 0.0
    "Strength of guidance away from the other views (Perp-Neg); 0: none."
    variance_reduced: bool = True
    "(z - D) / sigma^2 (Eq. 16) instead of (z + sigma n - D) / sigma^2 (Eq. 15)."
    weighting: Weighting = "sjc"
    "sjc: the score itself, so that small noise outweighs large; uniform: times sigma, as its code has it; x0: z - D."

    def __post_init__(self) -> None:
        check_choice("weighting", self.weighting, get_args(Weighting))

    @torch.no_grad()
    def __call__(self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor) -> Distilled:
        x0 = terms.guidance(self.cfg_scale, perp_neg=self.perp_neg).x0(prior, level.add_noise(z, noise), level)
        sigma = level.sigma_ve.to(z).view(-1, 1, 1, 1)
        start = z if self.variance_reduced else z + sigma * noise
        scale = (weight(level, self.weighting) / level.sigma_ve).to(z).view(-1, 1, 1, 1)
        return Distilled(scale * (start - x0), x0)
