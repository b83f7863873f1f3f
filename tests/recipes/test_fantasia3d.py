"""Fantasia3D: its authors' numbers, and its stages one after the other."""

import pytest
import torch
import trimesh
from shrunk import shrunk, states

import scorelift
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.recipes.optimizers import AdamW
from scorelift.scenes import build_scene

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def test_the_authors_numbers():
    recipe = find_recipe("fantasia3d")
    geometry, texture = stages = list(recipe.stages().values())
    assert [s.steps for s in stages] == [3000, 2000]
    assert [s.size for s in stages] == [512, 512]
    assert [s.distiller.cfg_scale for s in stages] == [100.0, 50.0]
    assert [s.distiller.weighting for s in stages] == ["sigma2", "alpha_sigma2"]
    assert [s.scene.tuned for s in stages] == ["geometry", "texture"]
    assert [s.shading.normal for s in stages] == [1.0, 0.0]
    assert [s.optimizer.rate.at(0.5) for s in stages] == [1e-3, 1e-2]
    assert all(isinstance(s.optimizer, AdamW) for s in stages)
    assert (geometry.noise.low.at(0.0), geometry.noise.high.at(0.0)) == (0.02, 0.5)
    assert [texture.noise.high.at(step / 2000) for step in (0, 299, 300)] == [0.98, 0.98, 0.5]
    assert recipe.prior == "sd21-base"


def test_its_geometry_begins_as_a_ball():
    points, _ = build_scene(shrunk(find_recipe("fantasia3d")).geometry.scene).surface()
    assert points.norm(dim=-1).detach() == pytest.approx(torch.full((len(points),), 0.5), abs=0.03)


@needs_weights
@pytest.mark.parametrize("preset", [None, "small"])
def test_the_texture_leaves_the_shape_alone(tmp_path, preset):
    recipe = shrunk(find_recipe("fantasia3d", preset))
    run = scorelift.generate("a yellow duck", out=tmp_path, recipe=recipe, quiet=True)
    assert [p.name for p in (run.path / "stages").iterdir()] == ["geometry"]
    assert len(trimesh.load(run.path / "asset.glb", force="mesh").faces) > 50
    shape, painted = states(run)
    assert shape["offset"].abs().max() > 0
    assert torch.equal(painted["distance"], shape["distance"])
    assert torch.equal(painted["offset"], shape["offset"])
    assert not torch.equal(painted["paint.table"], shape["paint.table"])
