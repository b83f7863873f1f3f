"""Redrawing against the sampler's closed form on a Gaussian prior."""

import pytest
import torch

from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.distill.base import Terms
from scorelift.distill.redraw import Redraw
from scorelift.priors.analytic import GaussianPrior

MEAN, STD = 0.1, 0.6


def drawn(generator):
    """Small, for a sampler keeps pictures within [-1, 1]."""
    return (0.2 * torch.randn(2, 1, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))


def redrawn(steps, sigma, z, noise):
    prior = GaussianPrior(torch.full((1, 2, 2), MEAN, dtype=torch.float64), STD)
    full, uncond = prior.encode_prompts(["x"] * len(z)), prior.encode_prompts([""] * len(z))
    distilled = Redraw(steps=steps, cfg_scale=1.0)(prior, z, Terms(full, full, uncond), Level.vp(sigma), noise)
    torch.testing.assert_close(distilled.gradient, z - distilled.x0)
    return distilled.x0


def test_one_step_is_the_denoiser(generator):
    z, noise = drawn(generator)
    sigma = torch.tensor([0.3, 2.0], dtype=torch.float64)
    s2 = (sigma**2).view(-1, 1, 1, 1)
    y = z + s2.sqrt() * noise
    torch.testing.assert_close(redrawn(1, sigma, z, noise), (STD**2 * y + s2 * MEAN) / (STD**2 + s2))


@pytest.mark.parametrize(("steps", "error"), [(20, 0.03), (400, 2e-3)])
def test_many_steps_follow_the_probability_flow(generator, steps, error):
    """Along which y - mean shrinks as the standard deviation does, from sqrt(std^2 + sigma^2) to std."""
    z, noise = drawn(generator)
    sigma = torch.tensor([0.5, 3.0], dtype=torch.float64)
    y = z + sigma.view(-1, 1, 1, 1) * noise
    expected = MEAN + (y - MEAN) * (STD / (STD**2 + sigma**2).sqrt()).view(-1, 1, 1, 1)
    gap = (redrawn(steps, sigma, z, noise) - expected).abs().max()
    assert gap < error * (y - MEAN).abs().max()


def test_steps_are_checked():
    with pytest.raises(ScoreliftError, match=r"steps: expected at least 1, got 0"):
        Redraw(steps=0)
