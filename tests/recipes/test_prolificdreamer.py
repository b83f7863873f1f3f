"""ProlificDreamer: its paper's numbers, and its stages one after the other."""

import pytest
import torch
import trimesh
from shrunk import shrunk, states

import scorelift
from scorelift.distill.sds import SDS
from scorelift.distill.vsd import VSD
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def test_the_papers_numbers():
    recipe = find_recipe("prolificdreamer")
    stages = recipe.stages()
    assert list(stages) == ["coarse", "nerf", "geometry", "texture"]
    coarse, nerf, geometry, texture = stages.values()
    assert coarse.steps + nerf.steps == 25_000
    assert [s.steps for s in stages.values()] == [5000, 20_000, 15_000, 30_000]
    assert [s.size for s in stages.values()] == [64, 512, 512, 512]
    assert [s.noise.high.at(0.5) for s in stages.values()] == [0.98, 0.5, 0.5, 0.5]
    assert all(s.noise.low.at(0.5) == 0.02 for s in stages.values())
    for stage in (coarse, nerf, texture):
        assert isinstance(stage.distiller, VSD)
        assert (stage.distiller.cfg_scale, stage.distiller.weighting) == (7.5, "sigma2")
        assert (stage.distiller.twin.kind, stage.distiller.twin.rate) == ("lora", 1e-4)
        assert stage.shading.shaded == 0.0
    assert geometry.distiller == SDS(cfg_scale=100.0, weighting="sigma2")
    assert geometry.shading.normal == 1.0
    assert (geometry.scene.tuned, texture.scene.tuned) == ("geometry", "texture")
    assert nerf.scene == coarse.scene == geometry.scene.paint == texture.scene.paint
    assert (nerf.scene.blob, nerf.scene.blob_radius, nerf.scene.finest) == (10.0, 0.5, 2048)
    assert (nerf.optimizer.rate.at(0.5), nerf.scene.network_rate) == (1e-2, 0.1)
    assert recipe.prior == "sd21-base"


@needs_weights
@pytest.mark.parametrize("preset", [None, "small"])
def test_stages_follow_each_other(tmp_path, preset):
    recipe = shrunk(find_recipe("prolificdreamer", preset))
    run = scorelift.generate("a yellow duck", out=tmp_path, recipe=recipe, quiet=True)
    assert sorted(p.name for p in (run.path / "stages").iterdir()) == ["coarse", "geometry", "nerf"]
    assert len(trimesh.load(run.path / "asset.glb", force="mesh").faces) > 50
    coarse, nerf, shape, painted = states(run)
    assert not torch.equal(nerf["field.table"], coarse["field.table"])
    assert torch.equal(shape["paint.table"], nerf["field.table"])  # geometry leaves the paint alone
    assert torch.equal(painted["distance"], shape["distance"])  # and texture the geometry
    assert not torch.equal(painted["paint.table"], shape["paint.table"])
    assert ["twin" in entry for entry in run.read_log()] == [True] * 4 + [False] * 2 + [True] * 2
