"""DreamGaussian: its numbers, its stages one after the other, and a run that was stopped between two steps."""

import copy
from dataclasses import replace

import pytest
import torch
import trimesh
from shrunk import FINISH, states

import scorelift
from scorelift.core.errors import ScoreliftError
from scorelift.distill.redraw import Redraw
from scorelift.distill.sds import SDS
from scorelift.engine.loop import Loop
from scorelift.engine.results import final_scene, start_scene
from scorelift.priors.analytic import GaussianPrior
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.recipes.base import UNLIT
from scorelift.scenes import GaussianConfig, Gaussians, Mesh, MeshConfig, VoxelConfig, build_scene

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def test_the_numbers():
    recipe = find_recipe("dreamgaussian")
    *clouds, texture = recipe.stages().values()
    assert recipe.prior == "sd21-base"
    assert [s.size for s in clouds] == [128, 256, 512]
    assert sum(s.steps for s in clouds) == 500
    assert [s.steps / 500 for s in clouds[:2]] == [0.3, 0.3]
    for stage in clouds:
        assert stage.distiller == SDS(cfg_scale=100.0, weighting="sigma2")
        assert stage.shading == UNLIT
        assert (stage.scene.count, stage.scene.radius, stage.scene.opacity) == (1000, 0.5, 0.1)
        assert stage.steps / stage.scene.looks == 50
        rates = [group["lr"] for group in Gaussians(stage.scene).groups(1e-2)]
        assert rates == pytest.approx([1e-2, 5e-3, 5e-2, 1e-2])  # places, shapes, opacities, colours
        drawn = stage.cameras.draw(500, torch.Generator().manual_seed(0))
        torch.testing.assert_close(drawn.position.norm(dim=-1), torch.full((500,), 2.5))
        torch.testing.assert_close(drawn.fovy_deg, torch.full((500,), 49.1), rtol=5e-3, atol=0)
        assert -30 <= drawn.elevation_deg.min() < -29
        assert 29 < drawn.elevation_deg.max() <= 30
    times = [s.noise.low.at(p) / 2 + s.noise.high.at(p) / 2 for s in clouds for p in (0.0, 1.0)]
    assert times == pytest.approx([0.97, 0.69, 0.69, 0.4, 0.4, 0.03])
    assert (texture.steps, texture.size, texture.optimizer.rate.at(0.5)) == (50, 512, 0.2)
    assert texture.distiller == Redraw(cfg_scale=100.0, steps=10)
    window = texture.noise
    assert [(window.low.at(p) + window.high.at(p)) / 2 for p in (0.0, 1.0)] == pytest.approx([0.18, 0.04])
    assert texture.scene.tuned == "texture"
    assert list(replace(recipe, until="gaussians").stages()) == ["coarse", "middle", "fine"]


def shrunk(recipe):
    """A few Gaussians that stop light from the start, tiny pictures, two steps a stage, the embedded prior."""
    changed = {}
    for name, stage in recipe.stages().items():
        scene = stage.scene
        if isinstance(scene, MeshConfig):
            scene = replace(scene, resolution=12, paint=VoxelConfig(resolution=16, shape="box"))
        else:
            scene = replace(scene, count=200, most=220, opacity=0.9)
        changed[name] = replace(stage, scene=scene, steps=2, size=32, prior=None)
    texture = replace(changed["texture"], distiller=Redraw(steps=2))
    return replace(recipe, prior="toybox", finish=FINISH, **{**changed, "texture": texture})


@needs_weights
@pytest.mark.parametrize("preset", [None, "small"])
def test_gaussians_and_then_their_surface(tmp_path, preset):
    run = scorelift.generate("a duck", out=tmp_path, recipe=shrunk(find_recipe("dreamgaussian", preset)), quiet=True)
    assert {p.name for p in (run.path / "stages").iterdir()} == {"coarse", "middle", "fine"}
    for asset in (run.path / "stages/fine/asset.glb", run.path / "asset.glb"):
        assert len(trimesh.load(asset, force="mesh").faces) > 50
    assert isinstance(final_scene(run), Mesh)
    coarse, middle, fine, texture = states(run)
    assert not torch.equal(coarse["place"], middle["place"])
    assert not torch.equal(middle["raw_colour"], fine["raw_colour"])
    assert texture["paint.albedo"].std() > 0
    assert isinstance(start_scene(run, find_recipe("dreamgaussian", "small")), Gaussians)
    (splats,) = scorelift.export_run(run, "splat")
    assert splats == run.path / "splats.ply"
    assert f"element vertex {fine['alive'].sum()}\n".encode() in splats.read_bytes()
    with pytest.raises(ScoreliftError, match=r"a name ending in \.ply, got '.*x\.obj'. Or choose --format obj"):
        scorelift.export_run(run, "splat", tmp_path / "x.obj")


@needs_weights
def test_gaussians_alone(tmp_path):
    recipe = replace(shrunk(find_recipe("dreamgaussian", "small")), until="gaussians")
    run = scorelift.generate("a duck", out=tmp_path / "run", recipe=recipe, quiet=True)
    assert isinstance(final_scene(run), Gaussians)
    assert len(trimesh.load(run.path / "asset.glb", force="mesh").faces) > 50
    again = scorelift.generate("a car", out=tmp_path / "again", recipe=recipe, start=run.path, quiet=True)
    before, after = states(run)[-1], states(again)[0]
    assert (before["place"] - after["place"]).abs().max() < 0.1
    assert torch.equal(before["alive"], after["alive"])


def test_runs_without_gaussians_have_no_splats(tmp_path):
    recipe = find_recipe("canvas").with_steps(1)
    run = scorelift.generate("a duck", out=tmp_path, recipe=recipe, quiet=True)
    with pytest.raises(ScoreliftError, match=r"a run with a stage of Gaussians, got '.* \(canvas\)'. Make one with"):
        scorelift.export_run(run, "splat")


def test_a_resumed_stage_takes_the_uninterrupted_steps():
    """Across looks at which Gaussians part."""
    stage = replace(
        find_recipe("dreamgaussian", "small").coarse, steps=9, size=12,
        scene=GaussianConfig(count=30, most=80, looks=3, opacity=0.5),
    )  # fmt: skip
    prior = GaussianPrior(torch.full((3, 12, 12), 0.3), 0.2)

    def loop():
        return Loop("coarse", stage, build_scene(stage.scene), prior, "x", seed=3)

    whole = loop()
    for step in range(9):
        if step == 5:
            state = copy.deepcopy(whole.state())
        whole.one_step()
    rest = loop()
    rest.load(state)
    while not rest.done:
        rest.one_step()
    assert len(whole.scene.living()) > 40
    for name, value in whole.scene.state_dict().items():
        assert torch.equal(value, rest.scene.state_dict()[name]), name
