"""Variational score distillation, and approximate probability flow: distillers with a twin.

Ref: Wang et al., "ProlificDreamer" (2023), Eq. 9; Lee et al., "DreamFlow" (2024), Eq. 12 and 13. Eq. 13 and line 9 of
DreamFlow's Algorithm 1 disagree in sign; the update must carry renders toward the prior's estimate, and does so here
(tests/distill/test_vsd.py: on a Gaussian prior the mean of the renders follows the closed form of the flow).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..core.errors import bad, check_choice
from ..priors.base import Prior
from .base import Distilled, Terms, Weighting, weight
from .twin import Twin, TwinConfig, renders_denoised


@dataclass(frozen=True, kw_only=True)
class Twinned:
    """What both compare: the renders' own denoiser with the prior's."""

    cfg_scale: float = 7.5
    perp_neg: float = 0.0
    "Strength of guidance away from the other views (Perp-Neg); 0: none."
    twin: TwinConfig = TwinConfig()

    def compare(
        self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor, twin: Twin | None
    ) -> tuple[Tensor, Tensor]:
        """D_phi - D and D, of the same noisy renders."""
        z_t = level.add_noise(z, noise)
        x0 = terms.guidance(self.cfg_scale, perp_neg=self.perp_neg).x0(prior, z_t, level)
        return renders_denoised(self.twin, twin, z, z_t, level, terms) - x0, x0


@dataclass(frozen=True, kw_only=True)
class VSD(Twinned):
    """w(t) (eps_hat - eps_hat_phi): where the prior and the renders' own distribution differ."""

    weighting: Weighting = "sigma2"

    def __post_init__(self) -> None:
        check_choice("weighting", self.weighting, get_args(Weighting))

    @torch.no_grad()
    def __call__(
        self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor, twin: Twin | None = None
    ) -> Distilled:
        gap, x0 = self.compare(prior, z, terms, level, noise, twin)
        scale = (weight(level, self.weighting) / level.sigma_ve).to(z).view(-1, 1, 1, 1)
        return Distilled(scale * gap, x0)


@dataclass(frozen=True, kw_only=True)
class APFO(Twinned):
    """(s_i - s_{i+1}) / s_i (D_phi - D): one step of the probability flow from the renders to the prior.

    For noise levels that follow each other (`Trajectory`).
    """

    @torch.no_grad()
    def __call__(
        self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor, twin: Twin | None = None
    ) -> Distilled:
        if level.decay is None:
            raise bad("noise", expected="levels that follow each other (a Trajectory) for APFO", got="single levels")
        gap, x0 = self.compare(prior, z, terms, level, noise, twin)
        return Distilled(level.decay.to(z).view(-1, 1, 1, 1) * gap, x0)
