"""Every number of Section 4 and Appendix A3 is where the recipe says; the small preset makes an asset."""

import pytest

from scorelift.core.camera_samplers import HemisphereSampler
from scorelift.recipes import find_recipe
from scorelift.recipes.optimizers import Adamax


def test_the_papers_numbers():
    stage = find_recipe("sjc").field
    assert (stage.steps, stage.size, stage.views) == (10_000, 64, 1)
    assert (stage.scene.resolution, stage.scene.step, stage.scene.shape) == (100, 0.5, "box")
    assert stage.cameras == HemisphereSampler(distance=1.5, fov_deg=(40.0, 70.0))
    assert stage.distiller.cfg_scale == 101.0
    first, second = stage.penalties.emptiness.at(0.49), stage.penalties.emptiness.at(0.5)
    assert second / first == pytest.approx(20)
    assert first * 64 * 64 * 346 == pytest.approx(1e4)
    assert isinstance(stage.optimizer, Adamax)
    assert stage.optimizer.rate.at(0.7) == 0.05
    assert stage.scene.environment_rate * 0.05 == pytest.approx(1e-4)
    assert (stage.prompting.choice, stage.prompting.place, stage.prompting.overhead_deg) == ("bare", "before", 30.0)
    assert (stage.shading.draw(1.0, __import__("torch").Generator())) == "albedo"
