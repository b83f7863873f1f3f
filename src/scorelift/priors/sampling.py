"""Drawing pictures from a prior: DDIM and ancestral sampling over Karras noise levels.

Ref: Karras et al. (2022), Eq. 5, for the levels; Song et al. (2021) for DDIM; Ho et al. (2020) for ancestral steps.
"""

from __future__ import annotations

import warnings
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.camera_samplers import ring
from ..core.diffusion import Level
from ..core.errors import bad, check_range
from .base import Prior
from .guidance import Guidance


def karras_sigmas(low: float, high: float, steps: int, rho: float = 7.0) -> Float[Tensor, " n"]:
    """`steps` decreasing noise-to-signal ratios from `high` to `low`, then 0."""
    if steps < 2:
        raise bad("steps", expected="at least 2", got=steps)
    ramp = torch.linspace(0, 1, steps)
    sigmas = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return torch.cat([sigmas, torch.zeros(1)])


@torch.no_grad()
def sample(
    prior: Prior,
    guidance: Guidance,
    *,
    generator: torch.Generator,
    steps: int = 40,
    eta: float = 1.0,
    size: int | None = None,
    clip: bool = True,
    sigma_max: float | None = None,
) -> Float[Tensor, "b c h w"]:
    """Draw one z a row of the guidance's conditions; for a prior of several views, rows are views from the front on.

    Warns of a prior that is asked about more noise than it was trained on.

    Args:
        eta: 0 for DDIM, 1 for ancestral sampling.
        clip: keep x0 within the prior's `bound`, if it has one ("static thresholding").

    Raises:
        ScoreliftError: for a prior of little noise, which can begin with no picture.
    """
    check_range("eta", eta, 0, 1)
    low, high = prior.sigma_range
    if high < 1:
        raise bad("prior", expected="one that draws pictures from noise alone", got=prior.name,
                  remedy="It refines pictures that are there.")  # fmt: skip
    top = min(sigma_max or high, 80.0)
    if prior.trained_until < 1 and float(prior.schedule.time(torch.tensor([top]))) > prior.trained_until:
        warnings.warn(f"{prior.name} was trained at times up to {prior.trained_until:g}, to refine pictures that are "
                      "there: of noise alone it guesses one", stacklevel=2)  # fmt: skip
    sigmas = karras_sigmas(max(low, 0.02), top, steps)
    side = size or prior.sizes[0]
    condition = guidance.terms[0][0]
    asked = len(condition)
    if prior.views > 1:
        guidance = seen_around(prior, guidance)
        condition = guidance.terms[0][0]
    device = next(iter(condition.tensors.values())).device
    shape = (len(condition), prior.channels, side, side)
    y = sigmas[0].to(device) * torch.randn(shape, generator=generator).to(device)
    for now, then in pairwise(sigmas):
        level = Level.vp(torch.full((len(y),), float(now), device=device))
        x0 = guidance.x0(prior, y * level.alpha_t.view(-1, 1, 1, 1), level)
        x0 = x0.clamp(-prior.bound, prior.bound) if clip and prior.bound else x0
        fresh = float(eta * (then**2 * (1 - then**2 / now**2)).clamp_min(0).sqrt())
        kept = float((then**2 - fresh**2).clamp_min(0).sqrt() / now)
        y = x0 + kept * (y - x0) + fresh * torch.randn(shape, generator=generator).to(device)
    return y[:asked]


def seen_around(prior: Prior, guidance: Guidance) -> Guidance:
    """The guidance with a camera for each row, a prior's `views` around one object after the other, the last group made
    whole."""
    views = prior.views
    asked = len(guidance.terms[0][0])
    rows = torch.arange(-(-asked // views) * views).clamp_max(asked - 1)
    cameras = ring(views)[torch.arange(views).repeat(len(rows) // views)]
    terms = ((prior.seen(condition.pick(rows), cameras), weight) for condition, weight in guidance.terms)
    return Guidance(tuple(terms))
