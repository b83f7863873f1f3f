"""Perturb-and-average scoring against closed forms, and its noise schedules."""

import math

import pytest
import torch

from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.distill.base import Terms
from scorelift.distill.noise import Sigmas
from scorelift.distill.sds import SDS
from scorelift.distill.sjc import SJC
from scorelift.priors.analytic import EmpiricalPrior, GaussianPrior

MEAN, STD = 0.4, 0.6


def terms(prior, prompt, n):
    full, uncond = prior.encode_prompts([prompt] * n), prior.encode_prompts([""] * n)
    return Terms(full, full, uncond)


def gaussian():
    return GaussianPrior(torch.full((1, 2, 2), MEAN, dtype=torch.float64), STD)


def mixture():
    points = torch.tensor([[-1.0, 0.2], [0.3, 0.9], [0.8, -0.7]], dtype=torch.float64)
    return EmpiricalPrior({"x": points.view(3, 2, 1, 1)}), points


def log_density(x, points, sigma):
    """log p_sigma of a 2-D point set (SJC Eq. 4) at rows x (n, 2)."""
    square = (x[:, None] - points).square().sum(-1)
    constant = math.log(2 * math.pi * sigma**2) + math.log(len(points))
    return torch.logsumexp(-square / (2 * sigma**2), -1) - constant


def test_variance_reduced_scores_are_sds_with_their_weight(generator):
    prior, z = gaussian(), torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64)
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.tensor([0.1, 1.0, 8.0], dtype=torch.float64))
    got = SJC(cfg_scale=7.5)(prior, z, terms(prior, "x", 3), level, noise)
    same = SDS(cfg_scale=7.5, weighting="sjc")(prior, z, terms(prior, "x", 3), level, noise)
    torch.testing.assert_close(got.gradient, same.gradient)


@pytest.mark.parametrize("variance_reduced", [True, False])
def test_the_mean_on_a_gaussian_in_closed_form(variance_reduced, generator):
    """Opposite noises cancel: -score = (z - m) / (tau^2 + sigma^2), by Eq. 15 and by Eq. 16."""
    prior, sigma = gaussian(), 0.7
    z = torch.randn(1, 1, 2, 2, generator=generator, dtype=torch.float64).expand(2, 1, 2, 2)
    n = torch.randn(1, 1, 2, 2, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.full((2,), sigma, dtype=torch.float64))
    sjc = SJC(cfg_scale=1.0, variance_reduced=variance_reduced)
    mean = sjc(prior, z, terms(prior, "x", 2), level, torch.cat([n, -n])).gradient.mean(0)
    torch.testing.assert_close(mean, (z[0] - MEAN) / (STD**2 + sigma**2))


def test_leaving_out_the_noise_reduces_the_variance(generator):
    prior, n = gaussian(), 4000
    z = torch.zeros(n, 1, 2, 2, dtype=torch.float64)
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.full((n,), 0.3, dtype=torch.float64))
    raw, reduced = (
        SJC(cfg_scale=1.0, variance_reduced=kind)(prior, z, terms(prior, "x", n), level, noise).gradient
        for kind in (False, True)
    )
    torch.testing.assert_close(raw.mean(0), reduced.mean(0), atol=0.2, rtol=0)
    # raw = (z - m + sigma n) / (tau^2 + sigma^2); reduced has tau^2 / sigma^2 of its noise
    assert float(raw.std() / reduced.std()) == pytest.approx(0.3**2 / STD**2, rel=1e-6)


def test_claim_1_it_is_the_gradient_of_a_lower_bound(generator):
    """Of log p at sqrt(2) sigma, on a mixture where all of it is known; the same noises on both sides."""
    prior, points = mixture()
    sigma, draws = 0.5, 60_000
    noise = torch.randn(draws, 2, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.full((draws,), sigma, dtype=torch.float64))
    for x in torch.tensor([[0.0, 0.0], [0.5, 0.6], [-1.5, 1.0]], dtype=torch.float64):

        def bound(place):
            return log_density(place + sigma * noise, points, sigma).mean()

        assert float(log_density(x[None], points, math.sqrt(2) * sigma)) >= float(bound(x)) - 1e-3
        numeric = []
        for axis in range(2):
            step = torch.zeros(2, dtype=torch.float64)
            step[axis] = 1e-5
            numeric.append((bound(x + step) - bound(x - step)) / 2e-5)
        z = x.view(1, 2, 1, 1).expand(draws, 2, 1, 1)
        raw = SJC(cfg_scale=1.0, variance_reduced=False)
        score = -raw(prior, z, terms(prior, "x", draws), level, noise.view(draws, 2, 1, 1)).gradient.mean(0)
        torch.testing.assert_close(score.flatten(), torch.stack(numeric), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("curve", "rho"), [("log", 7.0), ("karras", 7.0), ("karras", 3.0)])
def test_noise_falls_along_its_curve(curve, rho, generator):
    noise = Sigmas(high=10.0, low=0.1, curve=curve, rho=rho)
    at = [noise.at(p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert at[0] == pytest.approx(10.0)
    assert at[-1] == pytest.approx(0.1)
    assert at == sorted(at, reverse=True)
    middle = 1.0 if curve == "log" else ((10 ** (1 / rho) + 0.1 ** (1 / rho)) / 2) ** rho
    assert at[2] == pytest.approx(middle)
    level = noise.draw(gaussian(), 3, 0.5, generator)
    torch.testing.assert_close(level.sigma_ve, torch.full((3,), middle))
    torch.testing.assert_close(level.alpha_t**2 + level.sigma_t**2, torch.ones(3))


def test_noise_that_a_prior_or_nobody_knows(generator):
    prior = gaussian()
    prior.sigma_range = (0.5, 80.0)
    with pytest.raises(ScoreliftError, match=r"noise sigmas.*0\.5 to 80"):
        Sigmas(high=10.0, low=0.1).draw(prior, 1, 0.0, generator)
    with pytest.raises(ScoreliftError, match="high"):
        Sigmas(high=0.1, low=1.0)
