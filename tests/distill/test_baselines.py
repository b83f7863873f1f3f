import pytest
import torch

from scorelift.core.diffusion import Level
from scorelift.distill.base import Terms
from scorelift.distill.baselines import DiffusionLoss
from scorelift.distill.sds import SDS
from scorelift.priors.analytic import GaussianPrior


@pytest.mark.parametrize("target", ["eps", "x0"])
def test_jacobian_of_a_gaussian_in_closed_form(target, generator):
    """The Gaussian's denoiser is linear: D = (t^2 y + s^2 m) / (t^2 + s^2), so its Jacobian is t^2 / (t^2 + s^2).

    Then eps_hat - eps changes with z by s / (t^2 + s^2), and z - D by s^2 / (t^2 + s^2).
    """
    prior, std, s = GaussianPrior(torch.zeros(1, 3, 3, dtype=torch.float64), 0.5), 0.5, 1.2
    z = torch.randn(2, 1, 3, 3, generator=generator, dtype=torch.float64)
    noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
    level = Level.vp(torch.full((2,), s, dtype=torch.float64))
    full, uncond = prior.encode_prompts(["x", "x"]), prior.encode_prompts(["", ""])
    terms = Terms(full, full, uncond)
    got = DiffusionLoss(cfg_scale=1.0, target=target)(prior, z, terms, level, noise)
    gap = SDS(cfg_scale=1.0, weighting="uniform" if target == "eps" else "x0")(prior, z, terms, level, noise).gradient
    if target == "eps":
        expected = float(level.sigma_t[0] ** 2) * gap * s / (std**2 + s**2)
    else:
        expected = gap * s**2 / (std**2 + s**2)
    torch.testing.assert_close(got.gradient, expected)
    assert not got.gradient.requires_grad


class Halved(GaussianPrior):
    """Which computes in half precision."""

    def predict_x0(self, z_t, level, condition):
        return (0.5 * z_t.half()).to(z_t)


@pytest.mark.parametrize("target", ["eps", "x0"])
def test_half_precision_holds_the_way_back(target, generator):
    """A gradient of 1,000 x 101 on the network's output is more than half precision holds."""
    prior = Halved(torch.zeros(1, 3, 3), 0.5)
    z = 1e3 * torch.randn(2, 1, 3, 3, generator=generator)
    level, full = Level.vp(torch.full((2,), 8.0)), prior.encode_prompts(["x", "x"])
    got = DiffusionLoss(cfg_scale=101.0, target=target)(prior, z, Terms(full, full, full), level, torch.zeros_like(z))
    assert got.gradient.isfinite().all()
    assert got.gradient.abs().max() > 1
