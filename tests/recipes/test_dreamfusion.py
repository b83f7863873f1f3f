"""Every item of Appendix A.2 is where the recipe says, with its number."""

from dataclasses import replace

import pytest
import torch

from scorelift.core.schedules import Constant
from scorelift.engine.loop import Loop
from scorelift.priors.analytic import GaussianPrior
from scorelift.priors.base import ViewWords
from scorelift.priors.toybox import load_toybox
from scorelift.recipes import find_recipe
from scorelift.recipes.base import Penalties
from scorelift.recipes.optimizers import Shampoo
from scorelift.scenes import build_scene


def test_the_papers_numbers():
    stage = find_recipe("dreamfusion").field
    assert (stage.steps, stage.size, stage.views) == (15_000, 64, 4)
    scene = stage.scene
    assert (scene.frequencies, scene.blocks, scene.width) == (8, 5, 128)
    assert (scene.blob, scene.blob_width, scene.extent) == (5.0, 0.2, 1.4)
    assert (scene.density_bias, scene.normals, scene.environment) == (0.0, "analytic", True)
    assert [scene.spread.at(s / 15000) for s in (0, 2500, 5000, 15000)] == pytest.approx([5e-2, 2.6e-2, 2e-3, 2e-3])
    cameras = stage.cameras
    assert (cameras.distance, cameras.elevation_deg, cameras.focal) == ((1.0, 1.5), (-10.0, 90.0), (0.7, 1.35))
    assert (cameras.even_area_share, cameras.position_jitter, cameras.target_std, cameras.up_std) == (
        0.5,
        0.1,
        0.2,
        0.02,
    )
    assert (stage.lights.norm, stage.lights.spread, stage.lights.ambient) == ((0.8, 1.5), 1.0, 0.1)
    assert stage.shading.albedo_until * 15000 == pytest.approx(1000)
    assert (stage.shading.shaded, stage.shading.textureless) == (0.75, 0.5)
    assert (stage.noise.low.at(0.3), stage.noise.high.at(0.3)) == (0.02, 0.98)
    assert (stage.distiller.cfg_scale, stage.distiller.weighting) == (101.0, "sigma2")  # omega = 100 in our convention
    assert 1e-3 <= stage.penalties.opacity.at(0.5) <= 5e-3
    assert stage.penalties.orientation.at(0.0) == pytest.approx(1e-4)
    assert stage.penalties.orientation.at(5000 / 15000) == pytest.approx(1e-2)
    assert (stage.prompting.choice, stage.prompting.place, stage.prompting.overhead_deg) == ("nearest", "after", None)
    assert ViewWords() == ViewWords(
        azimuths=("front view", "side view", "back view", "side view"), overhead="overhead view", overhead_deg=60.0
    )
    assert (stage.draws, stage.penalties.emptiness, stage.penalties.transmittance) == (1, Constant(0), Constant(0))
    assert isinstance(stage.optimizer, Shampoo)
    assert stage.optimizer == Shampoo()  # its numbers: test_optimizers.py


def test_unlit_renders_pay_for_turned_normals():
    """The orientation loss holds from the first step on; the first thousand are unlit."""
    field = find_recipe("dreamfusion").field
    tiny = replace(field.scene, width=16, blocks=1, coarse_samples=12, fine_samples=6)
    for scene, paid in ((tiny, True), (replace(tiny, oriented=False), False)):
        stage = replace(field, scene=scene, size=8, views=1, bands=0, penalties=Penalties(orientation=Constant(1.0)))
        prior = GaussianPrior(torch.zeros(3, 8, 8), 0.5)
        loop = Loop("field", stage, build_scene(scene), prior, "anything", seed=0)
        assert (loop.one_step().penalty > 0) == paid


@pytest.mark.slow
def test_a_step_at_full_size():
    """The first lit one: the paper's network, samples and pixels, its rays in bands; one view in place of four."""
    stage = replace(find_recipe("dreamfusion").field, views=1)
    loop = Loop("field", stage, build_scene(stage.scene), load_toybox(), "a red mushroom", seed=0)
    loop.step = 1000
    before = {name: tensor.clone() for name, tensor in loop.scene.state_dict().items()}
    entry = loop.one_step()
    assert (entry.slices, entry.bands) == (None, None)  # as asked
    assert entry.gradient > 0
    assert 0 < entry.opacity < 1
    assert entry.penalty > 0
    for name, parameter in loop.scene.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.isfinite().all(), name
        assert not torch.equal(parameter.detach(), before[name]), name
