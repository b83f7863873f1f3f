import pytest
import torch

from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.priors.analytic import EmpiricalPrior, GaussianPrior


def test_gaussian_denoiser_is_the_posterior_mean(generator):
    mean = torch.randn(1, 2, 2, generator=generator, dtype=torch.float64)
    prior = GaussianPrior(mean, 0.7)
    x0 = mean + 0.7 * torch.randn(200_000, 1, 2, 2, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.full((len(x0),), 1.3, dtype=torch.float64))
    z_t = level.add_noise(x0, torch.randn(x0.shape, generator=generator, dtype=torch.float64))
    guess = prior.predict_x0(z_t, level, prior.encode_prompts(["x"] * len(x0)))
    # The error of the posterior mean is uncorrelated with its input and has the posterior's variance.
    error = guess - x0
    assert float((error * z_t).mean().abs()) < 5e-3
    assert float(error.var()) == pytest.approx(0.7**2 * 1.3**2 / (0.7**2 + 1.3**2), rel=0.01)


def test_gaussian_conditions():
    prior = GaussianPrior(torch.ones(1, 2, 2), 0.5, unconditional=torch.zeros(1, 2, 2))
    means = prior.encode_prompts(["", "x"]).tensors["mean"]
    assert means[0].sum() == 0
    assert means[1].sum() == 4


def test_empirical_denoiser_by_the_formula(generator):
    data = torch.randn(5, 1, 2, 2, generator=generator, dtype=torch.float64)
    prior = EmpiricalPrior({"a": data[:2], "b": data[2:]})
    y = torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64))
    got = prior.predict_x0(y * level.alpha_t.view(-1, 1, 1, 1), level, prior.encode_prompts(["", "a", "b"]))
    for i, allowed in enumerate((range(5), range(2), range(2, 5))):
        weights = {j: torch.exp(-((y[i] - data[j]) ** 2).sum() / (2 * level.sigma_ve[i] ** 2)) for j in allowed}
        expected = sum(w * data[j] for j, w in weights.items()) / sum(weights.values())
        torch.testing.assert_close(got[i], expected)


def test_empirical_at_low_noise_returns_the_nearest():
    data = torch.stack([torch.zeros(1, 2, 2), torch.ones(1, 2, 2)])
    prior = EmpiricalPrior({"a": data})
    level = Level.vp(torch.tensor([1e-3]))
    got = prior.predict_x0(torch.full((1, 1, 2, 2), 0.9), level, prior.encode_prompts(["a"]))
    torch.testing.assert_close(got[0], data[1])


def test_unknown_group():
    with pytest.raises(ScoreliftError, match="one of"):
        EmpiricalPrior({"a": torch.zeros(1, 1, 2, 2)}).encode_prompts(["b"])
