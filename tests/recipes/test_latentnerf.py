"""Latent-NeRF: its numbers, and its stages one after the other, with pixels and with latents."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import trimesh
from shrunk import FINISH, states

import scorelift
from scorelift.core.camera_samplers import DreamFusionCameras
from scorelift.core.errors import ScoreliftError
from scorelift.engine.results import final_scene
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.recipes.optimizers import Adam
from scorelift.scenes import VoxelConfig

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def test_the_numbers():
    recipe = find_recipe("latentnerf")
    latent, refine = recipe.stages().values()
    assert (recipe.prior, latent.latent, refine.latent) == ("sd15", True, False)
    assert (latent.steps, refine.steps) == (5000, 2000)
    for stage in (latent, refine):
        assert isinstance(stage.scene, VoxelConfig)
        assert stage.size == 64
        assert (stage.noise.low.at(0.5), stage.noise.high.at(0.5)) == (0.02, 0.98)
        assert (stage.distiller.cfg_scale, stage.distiller.weighting) == (100.0, "alpha_sigma2")
        assert stage.penalties.entropy.at(0.5) * 64**2 == pytest.approx(5e-4)
        assert stage.shading.draw(1.0, torch.Generator()) == "albedo"
        assert stage.guide.path is None
        assert (stage.guide.sigma, stage.guide.radius) == (0.25, 0.8)
        assert isinstance(stage.optimizer, Adam)
        assert (stage.optimizer.rate.at(0.5), stage.optimizer.betas, stage.optimizer.eps) == (1e-2, (0.9, 0.99), 1e-15)
    assert replace(latent.scene, albedo_spread=0.0) == refine.scene


def test_cameras_are_the_authors():
    cameras = find_recipe("latentnerf").latent.cameras
    assert isinstance(cameras, DreamFusionCameras)
    drawn = cameras.draw(3000, torch.Generator().manual_seed(0))
    for values, low, high in (
        (drawn.fovy_deg, 40, 70), (drawn.elevation_deg, -60, 90), (drawn.position.norm(dim=-1), 1, 1.5),
    ):  # fmt: skip
        assert low - 0.05 <= float(values.min()) < low + (high - low) * 0.02
        assert high - (high - low) * 0.02 < float(values.max()) <= high + 0.05


def test_the_small_preset_takes_the_embedded_prior_alone():
    recipe = find_recipe("latentnerf", "small")
    assert recipe.prior == "toybox"
    assert recipe.fitted(0) == recipe
    other = recipe.fitted(4)
    assert (other.latent.scene.latent, other.latent.scene.environment) == (4, True)  # backdrops are colours
    assert other.refine == recipe.refine
    short = replace(recipe, until="latent", refine=replace(recipe.refine, latent=True))
    assert short.fitted(4).refine.scene.latent == 4  # for when the run is continued


def cut(recipe, size):
    """The recipe with few voxels that begin as a ball, and two steps a stage."""
    scene = VoxelConfig(resolution=16, environment=recipe.latent.scene.environment)
    stages = {n: replace(s, scene=scene, size=size, steps=2) for n, s in recipe.stages().items()}
    return replace(recipe.with_stages(stages), finish=FINISH)


@needs_weights
@pytest.mark.parametrize("preset", [None, "small"])
def test_colours_go_on_from_features(tmp_path, preset):
    recipe = replace(cut(find_recipe("latentnerf", preset), 32), prior="toybox")
    run = scorelift.generate("a yellow duck", out=tmp_path, recipe=recipe, quiet=True)
    assert [p.name for p in (run.path / "stages").iterdir()] == ["latent"]
    assert {p.name for p in (run.path / "stages" / "latent").iterdir()} == {"preview.png", "asset.glb"}
    assert len(trimesh.load(run.path / "asset.glb", force="mesh").faces) > 50
    features, colours = states(run)
    assert features.keys() == colours.keys()
    assert 0 < float((features["field.density"] - colours["field.density"]).abs().max()) < 0.5  # goes on from there


@needs_weights
def test_a_stage_at_a_time_ends_as_the_whole(tmp_path):
    recipe = cut(find_recipe("latentnerf", "small"), 32)
    whole = scorelift.generate("a yellow duck", out=tmp_path / "whole", recipe=recipe, quiet=True)
    scorelift.generate("a yellow duck", out=tmp_path / "run", recipe=replace(recipe, until="latent"), quiet=True)
    resumed = scorelift.generate("a yellow duck", out=tmp_path / "run", recipe=recipe, resume=True, quiet=True)
    for one, other in zip(states(whole), states(resumed), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_other_scenes_render_no_latents():
    recipe = find_recipe("latentnerf", "small")
    hashed = find_recipe("magic3d", "small").coarse.scene
    with pytest.raises(ScoreliftError, match=r"latent\.latent: expected unlit voxels"):
        replace(recipe, latent=replace(recipe.latent, scene=hashed)).fitted(4)


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A tiny latent model."""
    pytest.importorskip("diffusers")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "priors")
    import tiny

    monkeypatch.setenv("SCORELIFT_CACHE", str(tmp_path / "cache"))
    return tiny.save("sd15", tmp_path)


@pytest.mark.parametrize("preset", [None, "small"])
def test_latents_become_colours_and_go_through_the_encoder(preset, checkpoint, tmp_path, monkeypatch):
    from scorelift.priors.diffusers.latents import Latents

    encode, seen = Latents.encode, []
    monkeypatch.setattr(Latents, "encode", lambda self, rgb: seen.append(len(rgb)) or encode(self, rgb))
    recipe = cut(find_recipe("latentnerf", preset), 8)
    recipe = replace(recipe, prior=str(checkpoint), refine=replace(recipe.refine, size=16))
    run = scorelift.generate("a red mushroom", out=tmp_path / "run", recipe=recipe, device="cpu", quiet=True)
    assert seen == [64, 1, 1]  # the linear look, once; then each step of `refine`
    features, colours = states(run)
    assert features["field.albedo"].shape[-1] == 4
    assert colours["field.albedo"].shape[-1] == 3
    assert not final_scene(run).latent
    assert ("environment.colours" in colours) == (preset is None)
    assert (run.path / "stages" / "latent" / "asset.glb").exists()
    assert not (run.path / "decoded.png").exists()
