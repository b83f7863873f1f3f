"""SDS against closed forms: its gradient, fixed point and rate on a Gaussian; the equivalences of weightings."""

from typing import get_args

import pytest
import torch

from scorelift.core.diffusion import Cosine, Level
from scorelift.core.errors import ScoreliftError
from scorelift.core.schedules import Constant
from scorelift.distill.base import Terms, Weighting, weight
from scorelift.distill.noise import Times, annealed
from scorelift.distill.sds import SDS
from scorelift.priors.analytic import EmpiricalPrior, GaussianPrior

MEAN, STD = 0.4, 0.6


def gaussian(**kwargs):
    return GaussianPrior(torch.full((1, 4, 4), MEAN, dtype=torch.float64), STD, **kwargs)


def terms(prior, n=1):
    full, uncond = prior.encode_prompts(["x"] * n), prior.encode_prompts([""] * n)
    return Terms(full, full, uncond)


def gradient(distiller, prior, z, level, noise):
    return distiller(prior, z, terms(prior, len(z)), level, noise).gradient


@pytest.mark.parametrize("weighting", get_args(Weighting))
@pytest.mark.parametrize("cfg_scale", [1.0, 7.5])
def test_gradient_on_a_gaussian(weighting, cfg_scale, generator):
    """w (eps_hat - eps), eps_hat = (y - D(y)) / s, D(y) = (tau^2 y + s^2 m) / (tau^2 + s^2), m the guided mean."""
    other = torch.full((1, 4, 4), -1.0, dtype=torch.float64)
    prior = gaussian(unconditional=other)
    z = torch.randn(3, 1, 4, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    level = Cosine().level(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    s = level.sigma_ve.view(-1, 1, 1, 1)
    guided_mean = -1.0 + cfg_scale * (MEAN + 1.0)
    eps_hat = s * (z + s * noise - guided_mean) / (STD**2 + s**2)
    w = weight(level, weighting).view(-1, 1, 1, 1)
    got = gradient(SDS(cfg_scale=cfg_scale, weighting=weighting), prior, z, level, noise)
    torch.testing.assert_close(got, w * (eps_hat - noise))


def test_weights_by_hand():
    """alpha_t = .8, sigma_t = .6: sigma_ve = .75."""
    level = Level(torch.tensor([0.8]), torch.tensor([0.6]))
    expected = {"sigma2": 0.36, "alpha_sigma2": 0.288, "uniform": 1.0, "x0": 0.75, "sjc": 4 / 3}
    assert {kind: float(weight(level, kind)) for kind in get_args(Weighting)} == pytest.approx(expected)


def test_converges_to_the_mean_at_the_known_rate(generator):
    """Opposite noises cancel: each step of size r shrinks the error by exactly 1 - r s^2 / (tau^2 + s^2) (x0 form)."""
    prior, level = gaussian(), Level.vp(torch.full((2,), 0.8, dtype=torch.float64))
    z, rate, steps = torch.full((1, 1, 4, 4), 3.0, dtype=torch.float64), 0.3, 25
    sds = SDS(cfg_scale=1.0, weighting="x0")
    for _ in range(steps):
        n = torch.randn(z.shape, generator=generator, dtype=torch.float64)
        g = gradient(sds, prior, z.repeat(2, 1, 1, 1), level, torch.cat([n, -n]))
        z = z - rate * g.mean(0, keepdim=True)
    factor = (1 - rate * 0.8**2 / (STD**2 + 0.8**2)) ** steps
    torch.testing.assert_close(z, MEAN + torch.full_like(z, (3.0 - MEAN) * factor))


def test_random_noise_still_finds_the_mean(generator):
    """The default: one random noise and level a step. SDS seeks the mode, so its fixed point is the mean itself."""
    prior = gaussian()
    z = torch.zeros(50, 1, 4, 4, dtype=torch.float64)
    total, count = torch.zeros_like(z[:1]), 0
    for i in range(400):
        level = Times().draw(prior, len(z), 0.0, generator)
        level = Level(level.alpha_t.double(), level.sigma_t.double())
        z = z - 0.05 * gradient(SDS(cfg_scale=1.0), prior, z, level, torch.randn(z.shape, generator=generator).double())
        if i >= 300:
            total, count = total + z.mean(0, keepdim=True), count + 1
    assert float((total / count - MEAN).abs().mean()) < 0.03


def test_x0_form_is_a_step_toward_the_denoised_picture(generator):
    prior = gaussian()
    z = torch.randn(1, 1, 4, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.tensor([1.5], dtype=torch.float64))
    distilled = SDS(cfg_scale=1.0, weighting="x0")(prior, z, terms(prior), level, noise)
    torch.testing.assert_close(z - distilled.gradient, distilled.x0)


def test_sjc_weighting_is_the_perturb_and_average_score(generator):
    """(z - D) / s^2: minus SJC's Eq. 16."""
    prior = gaussian()
    z = torch.randn(2, 1, 4, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.tensor([0.5, 2.0], dtype=torch.float64))
    distilled = SDS(cfg_scale=1.0, weighting="sjc")(prior, z, terms(prior, 2), level, noise)
    s2 = (level.sigma_ve**2).view(-1, 1, 1, 1)
    torch.testing.assert_close(distilled.gradient, (z - distilled.x0) / s2)


def test_annealing_on_an_empirical_prior_lands_on_a_picture(generator):
    data = torch.rand(5, 1, 6, 6, generator=generator)
    prior = EmpiricalPrior({"x": data})
    z = torch.full((1, 1, 6, 6), 0.5)
    times = annealed(0.9, 0.02, 0.02)
    for i in range(300):
        level = times.draw(prior, 1, i / 300, generator)
        z = z - 0.2 * gradient(
            SDS(cfg_scale=1.0, weighting="x0"), prior, z, level, torch.randn(z.shape, generator=generator)
        )
    assert float((z - data).flatten(1).norm(dim=1).min()) < 0.05


def test_no_gradient_flows_through_the_prior():
    prior = gaussian()
    z = torch.zeros(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    level = Level.vp(torch.tensor([1.0], dtype=torch.float64))
    assert not gradient(SDS(), prior, z, level, torch.zeros_like(z)).requires_grad


def test_noise_times_follow_their_schedules(generator):
    prior = gaussian()
    draws = Times().draw(prior, 10_000, 0.0, generator)
    t = torch.atan2(draws.sigma_t, draws.alpha_t) * 2 / torch.pi
    assert 0.0199 < float(t.min()) < 0.025
    assert 0.975 < float(t.max()) < 0.9801
    assert float(t.mean()) == pytest.approx(0.5, abs=0.01)
    falling = annealed(0.9, 0.1, 0.1)
    for progress, low, high in ((0.0, 0.85, 0.95), (0.5, 0.45, 0.55), (1.0, 0.05, 0.15)):
        draws = falling.draw(prior, 500, progress, generator)
        t = torch.atan2(draws.sigma_t, draws.alpha_t) * 2 / torch.pi
        assert low - 1e-3 < float(t.min()) < float(t.max()) < high + 1e-3


def test_crossing_bounds_are_told(generator):
    with pytest.raises(ScoreliftError, match="low <= high"):
        Times(low=Constant(0.9), high=Constant(0.1)).draw(gaussian(), 1, 0.0, generator)


@pytest.mark.parametrize("views", [1, 2])
def test_rescaling_returns_the_contrast_of_each_group(views, generator):
    """x0 times 1 - share + share std(unguided) / std(guided), over the pictures that the prior sees together."""
    mean, other = torch.randn(2, 1, 4, 4, generator=generator, dtype=torch.float64)
    prior = GaussianPrior(mean, STD, unconditional=other)
    prior.views = views
    z, noise = torch.randn(2, 4, 1, 4, 4, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.tensor([0.8, 0.8, 2.0, 2.0], dtype=torch.float64))
    plain, guided, got, whole = (
        SDS(cfg_scale=scale, weighting="x0", rescale=share)(prior, z, terms(prior, 4), level, noise).x0
        for scale, share in ((1.0, 0.0), (9.0, 0.0), (9.0, 0.7), (9.0, 1.0))
    )
    for group in range(0, 4, views):
        own = slice(group, group + views)
        torch.testing.assert_close(got[own], guided[own] * (0.3 + 0.7 * plain[own].std() / guided[own].std()))
        torch.testing.assert_close(whole[own].std(), plain[own].std())
    assert guided.std() > 2 * plain.std()
    with pytest.raises(ScoreliftError, match="rescale"):
        SDS(rescale=1.5)


def test_perp_neg_is_rescaled_alike(generator):
    mean, other = torch.randn(2, 1, 4, 4, generator=generator, dtype=torch.float64)
    prior = GaussianPrior(mean, STD, unconditional=other)
    z, noise = torch.randn(2, 2, 1, 4, 4, generator=generator, dtype=torch.float64)
    full, uncond = prior.encode_prompts(["x"] * 2), prior.encode_prompts([""] * 2)
    opposed = ((uncond, torch.ones(2, dtype=torch.float64)),)
    said, level = Terms(full, full, uncond, opposed), Level.vp(torch.ones(2, dtype=torch.float64))
    got = SDS(cfg_scale=9.0, perp_neg=1.0, rescale=1.0)(prior, z, said, level, noise).x0
    plain = SDS(cfg_scale=1.0)(prior, z, said, level, noise).x0
    torch.testing.assert_close(got.flatten(1).std(1), plain.flatten(1).std(1))


def test_views_of_a_group_share_a_noise_level(generator):
    prior = gaussian()
    prior.views = 2
    first, again, second, _ = Times().draw(prior, 4, 0.0, generator).sigma_ve.tolist()
    assert first == again != second


def test_x0_can_be_kept_in_range(generator):
    prior = gaussian(unconditional=torch.full((1, 4, 4), -1.0, dtype=torch.float64))
    z = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    level = Level.vp(torch.tensor([5.0], dtype=torch.float64))
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    free = SDS(cfg_scale=9.0, weighting="x0")(prior, z, terms(prior), level, noise)
    kept = SDS(cfg_scale=9.0, weighting="x0", x0_limit=1.0)(prior, z, terms(prior), level, noise)
    assert float(free.x0.max()) > 2
    torch.testing.assert_close(kept.x0, free.x0.clamp(-1, 1))
    torch.testing.assert_close(kept.gradient, z - kept.x0)
    with pytest.raises(ScoreliftError, match="x0_limit"):
        SDS(x0_limit=0.0)
