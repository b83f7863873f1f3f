"""Magic3D: its numbers, and its stages one after the other."""

import pytest
import torch
import trimesh
from shrunk import shrunk, states

import scorelift
from scorelift.engine.results import final_scene
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.scenes import HashConfig, Mesh, MeshConfig

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def test_the_numbers():
    recipe = find_recipe("magic3d")
    coarse, fine = recipe.stages().values()
    assert [s.steps for s in (coarse, fine)] == [10_000, 5000]
    assert [s.size for s in (coarse, fine)] == [64, 512]
    assert [s.distiller.cfg_scale for s in (coarse, fine)] == [101.0, 100.0]
    assert [(s.noise.low.at(0.5), s.noise.high.at(0.5)) for s in (coarse, fine)] == [(0.02, 0.98), (0.02, 0.5)]
    assert isinstance(coarse.scene, HashConfig)
    assert (coarse.scene.levels, coarse.scene.log2_rows, coarse.scene.finest) == (16, 19, 4096)
    assert (coarse.scene.blob, coarse.scene.blob_radius) == (10.0, 0.5)
    assert isinstance(fine.scene, MeshConfig)
    assert (fine.scene.tuned, fine.scene.paint) == ("both", coarse.scene)
    assert coarse.shading.albedo_until * coarse.steps == 2000
    assert [s.optimizer.rate.at(0.5) for s in (coarse, fine)] == [1e-2, 1e-2]
    assert (recipe.prior, fine.prior) == ("if", "sd21-base")
    drawn = fine.cameras.draw(2000, torch.Generator().manual_seed(0))
    assert 29.9 < float(drawn.fovy_deg.min()) < 31
    assert 44 < float(drawn.fovy_deg.max()) < 45.1
    assert 43 < float(drawn.elevation_deg.max()) <= 45


def test_the_small_preset_takes_the_embedded_prior_alone():
    recipe = find_recipe("magic3d", "small")
    assert recipe.prior == "toybox"
    assert all(stage.prior is None for stage in recipe.stages().values())


@needs_weights
@pytest.mark.parametrize("preset", [None, "small"])
def test_the_mesh_goes_on_from_the_field_with_shape_and_colours(tmp_path, preset):
    run = scorelift.generate("a yellow duck", out=tmp_path, recipe=shrunk(find_recipe("magic3d", preset)), quiet=True)
    assert [p.name for p in (run.path / "stages").iterdir()] == ["coarse"]
    assert len(trimesh.load(run.path / "asset.glb", force="mesh").faces) > 50
    mesh = final_scene(run)
    assert isinstance(mesh, Mesh)
    field, refined = states(run)
    assert not torch.equal(refined["paint.table"], field["field.table"])
    assert mesh.distance.requires_grad
    assert mesh.offset.abs().max() > 0
    assert not any("twin" in entry for entry in run.read_log())
