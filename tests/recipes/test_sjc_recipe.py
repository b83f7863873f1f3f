"""Every number of Section 4, Appendix A3 and the authors' program is where the recipe says."""

import math
from dataclasses import replace

import pytest
import torch

from scorelift.core.camera_samplers import HemisphereSampler
from scorelift.core.diffusion import Table
from scorelift.distill.sjc import SJC
from scorelift.engine.loop import Loop
from scorelift.priors.registry import load_prior
from scorelift.recipes import find_recipe
from scorelift.recipes.optimizers import Adamax
from scorelift.recipes.sjc import SAMPLES
from scorelift.scenes import VoxelField, build_scene


def test_the_papers_numbers():
    stage = find_recipe("sjc").field
    assert (stage.steps, stage.size, stage.views) == (10_000, 64, 1)
    assert (stage.scene.resolution, stage.scene.step, stage.scene.shape) == (100, 0.5, "box")
    assert stage.cameras == HemisphereSampler(distance=1.5, fov_deg=(40.0, 70.0))
    assert (stage.distiller.cfg_scale, stage.distiller.weighting) == (100.0, "uniform")
    first, second = stage.penalties.emptiness.at(0.49), stage.penalties.emptiness.at(0.5)
    assert second / first == pytest.approx(20)
    assert first * 64 * 64 * SAMPLES == pytest.approx(1e4)
    assert isinstance(stage.optimizer, Adamax)
    assert stage.optimizer.rate.at(0.7) == 0.05
    assert stage.scene.environment_rate * 0.05 == pytest.approx(1e-4)
    assert (stage.prompting.choice, stage.prompting.place, stage.prompting.overhead_deg) == ("bare", "before", 30.0)
    assert (stage.shading.draw(1.0, torch.Generator())) == "albedo"


def test_noise_is_that_of_the_authors_program_with_stable_diffusion():
    """Of the 1,000 levels, the noisiest first, those from the 30th to the tenth last."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alpha_bar = (1 - betas).cumprod(0)
    theirs = ((1 - alpha_bar) / alpha_bar).sqrt().flip(0)[30:-10]
    noise, schedule = find_recipe("sjc").field.noise, Table(tuple(alpha_bar.tolist()))
    ends = torch.tensor([noise.high.at(0.5), noise.low.at(0.5)], dtype=torch.float64)
    torch.testing.assert_close(schedule.level(ends).sigma_ve, theirs[[0, -1]], rtol=1e-3, atol=0)


def test_samples_are_those_of_a_renders_longest_ray(generator):
    stage = find_recipe("sjc").field
    field = VoxelField(stage.scene)
    cameras = stage.cameras.draw(200, generator)
    origin, direction = cameras.rays(16, 16)
    near, far = field.span(origin.repeat_interleave(256, 0), direction.reshape(-1, 3))
    longest = (far - near).view(200, 256).amax(1) / field.delta
    assert float(longest.mean()) == pytest.approx(SAMPLES, rel=0.02)
    small = VoxelField(find_recipe("sjc", "small").field.scene)
    assert 2 / small.delta == pytest.approx(63)


def test_small_keeps_the_numbers_it_was_tuned_with():
    stage = find_recipe("sjc", "small").field
    weights = [stage.penalties.emptiness.at(progress) for progress in (0.0, 0.5)]
    assert weights == [pytest.approx(lam / (64 * 64 * 346)) for lam in (1e4, 8e4)]
    assert stage.distiller == SJC(cfg_scale=15.0, weighting="sjc")
    assert stage.scene.prune_alpha == 0.004


@pytest.mark.parametrize("preset", [None, "small"])
def test_pruning_leaves_the_fog_it_starts_from(preset):
    stage = find_recipe("sjc", preset).field
    field = VoxelField(stage.scene)
    field.update(0, stage.scene.prune_from)
    assert bool(field.occupied.all())
    dense = VoxelField(replace(stage.scene, prune_alpha=0.02))
    dense.update(0, stage.scene.prune_from)
    assert not bool(dense.occupied.any())


def test_the_unscaled_recipe_takes_steps():
    """On its whole grid, into the second half and past the first pruning; with small pictures."""
    stage = replace(find_recipe("sjc").field, steps=20, size=32)
    loop = Loop("field", stage, build_scene(stage.scene), load_prior("toybox"), "a yellow duck", seed=0)
    logs = [loop.one_step() for _ in range(stage.steps)]
    assert all(math.isfinite(value) for log in logs for value in (log.gradient, log.penalty, log.opacity))
    assert all(bool(parameter.isfinite().all()) for parameter in loop.scene.parameters())
    assert loop.scene.field.density.shape == (100, 100, 100, 1)
    assert bool(loop.scene.field.occupied.any())
    assert 0.01 < logs[-1].opacity < 0.99
