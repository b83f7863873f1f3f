"""What DreamFusion rejects: kept to be measured against.

Ref: DreamFusion Sec. 2.1: the diffusion loss with the Jacobian of the U-Net "did not produce realistic samples".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..core.errors import check_choice
from ..priors.base import Prior
from .base import Distilled, Terms


@dataclass(frozen=True, kw_only=True)
class DiffusionLoss:
    """The training loss of the prior as a function of the render, differentiated through the prior."""

    cfg_scale: float = 101.0
    target: str = "eps"
    "eps: sigma_t^2 |eps_hat - eps|^2 / 2 (DreamFusion Eq. 2); x0: |z - x0|^2 / 2, the reconstruction error."

    def __post_init__(self) -> None:
        check_choice("target", self.target, ("eps", "x0"))

    def __call__(self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor) -> Distilled:
        with torch.enable_grad():
            clean = z.detach().requires_grad_()
            z_t = level.add_noise(clean, noise)
            x0 = terms.guidance(self.cfg_scale).x0(prior, z_t, level)
            if self.target == "x0":
                gap = clean - x0
            else:
                gap = level.sigma_t.to(z).view(-1, 1, 1, 1) * (level.eps_from_x0(z_t, x0) - noise)
            soft = _softer(gap.detach().abs().max() * max(abs(self.cfg_scale), 1.0))
            (gradient,) = torch.autograd.grad(soft * gap.square().sum() / 2, clean)
        return Distilled(gradient / soft, x0.detach())


def _softer(most: Tensor) -> Tensor:
    """A power of two by which numbers of at most this size come near 1: gradients would overflow in half precision."""
    return torch.exp2(-most.clamp_min(1e-30).log2().ceil())
