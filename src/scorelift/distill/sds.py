"""Score distillation sampling.

Ref: Poole et al., "DreamFusion" (2022), Eq. 3: gradient w(t) (eps_hat - eps) on the render, without the Jacobian of the
U-Net. Thresholding: Saharia et al., "Photorealistic text-to-image diffusion models" (2022), Sec. 2.3. MVDream's loss on
x0 (Shi et al. 2023, Sec. 3.2) is `weighting` "x0" with `rescale` .5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..core.errors import bad, check_choice, check_positive, check_range
from ..priors.base import Prior
from .base import Distilled, Terms, Weighting, weight


@dataclass(frozen=True, kw_only=True)
class SDS:
    """Score distillation with classifier-free guidance."""

    cfg_scale: float = 101.0
    "DreamFusion's omega = 100 is 101 in our convention."
    view_scale: float | None = None
    "Guidance on the view phrase apart from the object's; None: together."
    perp_neg: float = 0.0
    "Strength of guidance away from the other views (Perp-Neg); 0: none."
    weighting: Weighting = "sigma2"
    rescale: float = 0.0
    "How far the guided x0 returns to the contrast it has without guidance (Lin et al. 2023); MVDream: .5."
    x0_limit: float | None = None
    "Clamp the guided x0 to [-x0_limit, x0_limit] (1 for priors of pixels), as Imagen's static thresholding does."

    def __post_init__(self) -> None:
        if self.perp_neg and self.view_scale is not None:
            raise bad("perp_neg", expected="0 when view_scale is given", got=self.perp_neg)
        if self.x0_limit is not None:
            check_positive("x0_limit", self.x0_limit)
        check_range("rescale", self.rescale, 0, 1)
        check_choice("weighting", self.weighting, get_args(Weighting))

    @torch.no_grad()
    def __call__(self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor) -> Distilled:
        z_t = level.add_noise(z, noise)
        x0 = terms.guidance(self.cfg_scale, self.view_scale, self.perp_neg).x0(prior, z_t, level, self.rescale)
        if self.x0_limit is not None:
            x0 = x0.clamp(-self.x0_limit, self.x0_limit)
        scale = (weight(level, self.weighting) / level.sigma_ve).to(z).view(-1, 1, 1, 1)
        return Distilled(scale * (z - x0), x0)
