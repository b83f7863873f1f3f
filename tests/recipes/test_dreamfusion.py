"""Every item of Appendix A.2 is where the recipe says, with its number."""

import pytest

from scorelift.recipes import find_recipe
from scorelift.recipes.optimizers import Shampoo


def test_the_papers_numbers():
    stage = find_recipe("dreamfusion").field
    assert (stage.steps, stage.size, stage.views) == (15_000, 64, 4)
    scene = stage.scene
    assert (scene.frequencies, scene.blocks, scene.width) == (8, 5, 128)
    assert (scene.blob, scene.blob_width, scene.extent) == (5.0, 0.2, 1.4)
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
    assert isinstance(stage.optimizer, Shampoo)
