import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.priors.analytic import EmpiricalPrior, GaussianPrior
from scorelift.priors.guidance import Guidance
from scorelift.priors.sampling import karras_sigmas, sample


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_of_a_gaussian_have_its_moments(eta, generator):
    prior = GaussianPrior(torch.full((1, 8, 8), 0.3), 0.5)
    condition = prior.encode_prompts(["x"] * 200)
    z = sample(prior, Guidance(((condition, 1.0),)), generator=generator, steps=200, eta=eta, clip=False)
    assert float(z.mean()) == pytest.approx(0.3, abs=0.02)
    assert float(z.std()) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_samples_of_an_empirical_prior_are_its_pictures(eta, generator):
    data = torch.randn(4, 1, 4, 4, generator=generator)
    prior = EmpiricalPrior({"a": data})
    z = sample(
        prior, Guidance(((prior.encode_prompts(["a"] * 40), 1.0),)), generator=generator, steps=40, eta=eta, clip=False
    )
    gap = torch.cdist(z.flatten(1), data.flatten(1))
    assert float(gap.amin(1).max()) < 0.05
    assert set(gap.argmin(1).tolist()) == {0, 1, 2, 3}


def test_levels_fall_to_zero():
    sigmas = karras_sigmas(0.02, 80.0, 10)
    assert float(sigmas[0]) == pytest.approx(80, rel=1e-5)
    assert float(sigmas[-2]) == pytest.approx(0.02, rel=1e-3)
    assert sigmas[-1] == 0
    assert bool((sigmas[1:] < sigmas[:-1]).all())


def test_too_few_steps():
    with pytest.raises(ScoreliftError, match="at least 2"):
        karras_sigmas(0.02, 80, 1)
