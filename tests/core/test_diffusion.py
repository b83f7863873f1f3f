import math

import pytest
import torch

from scorelift.core.diffusion import Cosine, Flow, Level, Table
from scorelift.core.errors import ScoreliftError

DDPM = Table(
    tuple(torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0).tolist())
)


@pytest.mark.parametrize("schedule", [Cosine(), Flow(), DDPM], ids=["cosine", "flow", "ddpm"])
def test_every_parameterization_comes_back(schedule, generator):
    x0 = torch.randn(5, 3, 4, 4, generator=generator, dtype=torch.float64)
    eps = torch.randn(x0.shape, generator=generator, dtype=torch.float64)
    level = schedule.level(torch.linspace(0.05, 0.95, 5, dtype=torch.float64))
    z_t = level.add_noise(x0, eps)
    torch.testing.assert_close(level.eps_from_x0(z_t, x0), eps)
    torch.testing.assert_close(level.x0_from_eps(z_t, eps), x0)
    torch.testing.assert_close(level.x0_from_v(z_t, level.v_from_x0(z_t, x0)), x0)
    torch.testing.assert_close(level.x0_from_flow(z_t, level.flow_from_x0(z_t, x0)), x0)
    a, s = level.alpha_t.view(-1, 1, 1, 1), level.sigma_t.view(-1, 1, 1, 1)
    torch.testing.assert_close(level.v_from_x0(z_t, x0), a * eps - s * x0)
    torch.testing.assert_close(level.flow_from_x0(z_t, x0), eps - x0)


def test_levels_named_by_their_noise_to_signal_ratio():
    sigma_ve = torch.tensor([0.1, 1.0, 10.0])
    level = Level.vp(sigma_ve)
    torch.testing.assert_close(level.sigma_ve, sigma_ve)
    torch.testing.assert_close(level.alpha_t**2 + level.sigma_t**2, torch.ones(3))
    assert len(level.repeat(2)) == 6


def test_cosine_runs_over_the_stated_range():
    level = Cosine().level(torch.tensor([0.02, 0.5, 0.98]))
    torch.testing.assert_close(level.sigma_ve, torch.tensor([0.0314, 1.0, 31.82]), atol=0.01, rtol=1e-3)
    torch.testing.assert_close(Cosine().time(level.sigma_ve), torch.tensor([0.02, 0.5, 0.98]))


def test_table_hits_its_entries():
    table = Table((0.9, 0.5, 0.1))
    level = table.level(torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(level.alpha_t**2, torch.tensor([0.9, 0.5, 0.1]))
    torch.testing.assert_close(level.sigma_t**2, torch.tensor([0.1, 0.5, 0.9]))
    assert float(table.level(torch.tensor([0.25])).alpha_t ** 2) == pytest.approx(math.sqrt(0.45), rel=1e-6)


def test_table_must_decrease():
    with pytest.raises(ScoreliftError, match="decreasing"):
        Table((0.1, 0.5))


@pytest.mark.parametrize("schedule", [Cosine(), Flow(), Flow(3.0), DDPM], ids=["cosine", "flow", "shifted", "ddpm"])
def test_time_is_the_inverse_of_level(schedule):
    t = torch.linspace(0.01, 0.99, 50, dtype=torch.float64)
    torch.testing.assert_close(schedule.time(schedule.level(t).sigma_ve), t, atol=1e-9, rtol=1e-9)
