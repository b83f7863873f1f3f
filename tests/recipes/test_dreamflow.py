"""DreamFlow: its paper's numbers, and its stages one after the other."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

import scorelift
from scorelift.core.errors import EmptySceneError, ScoreliftError
from scorelift.core.schedules import Constant
from scorelift.distill.noise import Trajectory
from scorelift.distill.twin import TwinConfig
from scorelift.engine import job
from scorelift.engine.outputs import export_run
from scorelift.engine.results import final_scene
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.recipes.base import Finish
from scorelift.recipes.optimizers import AdamW
from scorelift.scenes import Mesh, build_scene

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def test_the_papers_numbers():
    recipe = find_recipe("dreamflow")
    nerf, geometry, texture, refine = recipe.stages().values()
    scene = nerf.scene
    assert (scene.levels, scene.log2_rows, scene.features, scene.coarse_samples) == (16, 19, 4, 512)
    assert (scene.blob, scene.blob_radius, scene.extent) == (10.0, 0.5, 1.0)
    assert [s.size for s in (nerf, geometry, texture, refine)] == [256, 512, 512, 1024]
    assert [s.steps for s in (nerf, geometry, texture, refine)] == [4000, 5000, 2000, 300]
    spans = [(s.noise.start, s.noise.end) for s in (nerf, geometry, texture, refine)]
    assert spans == [(1.0, 0.2), (0.8, 0.4), (0.5, 0.1), (0.3, 0.0)]
    assert [s.steps // s.noise.levels for s in (nerf, geometry, texture, refine)] == [5, 5, 5, 10]
    twins = [s.distiller.twin.kind for s in (nerf, geometry, texture, refine)]
    assert twins == ["lora", "identity", "lora", "lora"]
    learned = [s.distiller.twin for s in (nerf, texture, refine)]
    assert [(twin.along, twin.rate) for twin in learned] == [(True, 1e-4)] * 3  # Algorithm 1: at the level itself
    assert all(s.distiller.cfg_scale == 7.5 for s in recipe.stages().values())
    assert (recipe.prior, refine.prior) == ("sd21", "sdxl-refiner")
    for stage in recipe.stages().values():
        assert isinstance(stage.optimizer, AdamW)
        assert stage.optimizer.rate.at(0.5) == 1e-2
    assert (scene.network_rate, scene.environment_rate) == (0.1, 0.1)
    assert (nerf.shading.shaded, geometry.shading.normal, texture.shading.shaded) == (0.0, 1.0, 0.0)


def tiny(until: str | None = None):
    """All stages of the small preset, smaller still, a few steps each; its field begins as a ball."""
    recipe = find_recipe("dreamflow", "small")
    field = replace(recipe.nerf.scene, levels=3, finest=16, width=8, coarse_samples=24, blob=10.0, density_bias=5.0)
    mesh = replace(recipe.geometry.scene, resolution=12, paint=field)
    changed = {}
    for name, stage in recipe.stages().items():
        scene = field if name == "nerf" else replace(mesh, tuned="geometry" if name == "geometry" else "texture")
        noise = Trajectory(start=0.4, end=0.2, levels=3)
        prior = "toybox" if name == "refine" else None
        size = 64 if name == "refine" else 32
        changed[name] = replace(stage, scene=scene, steps=3, noise=noise, prior=prior, size=size)
    finish = Finish(
        mesh_resolution=24,
        faces=400,
        texture=32,
        turntable_frames=2,
        turntable_size=32,
        preview_size=24,
        every_stage=True,
    )
    return replace(recipe, finish=finish, until=until, **changed)


def states(run):
    return [run.load_checkpoint(path)["scene"] for path in run.checkpoints()]


@needs_weights
def test_stages_follow_each_other_and_each_leaves_an_asset(tmp_path):
    run = scorelift.generate("a yellow duck", out=tmp_path / "whole", recipe=tiny(), quiet=True)
    assert sorted(p.name for p in (run.path / "stages").iterdir()) == ["geometry", "nerf", "texture"]
    for folder in (run.path, *(run.path / "stages").iterdir()):
        assert (folder / "preview.png").exists()
        assert len(trimesh.load(folder / "asset.glb", force="mesh").faces) > 50
    assert isinstance(final_scene(run), Mesh)
    field, shape, painted, refined = states(run)
    assert torch.equal(shape["paint.table"], field["field.table"])  # geometry leaves the paint alone
    assert torch.equal(painted["distance"], shape["distance"])  # and texture the geometry
    assert not torch.equal(painted["paint.table"], shape["paint.table"])
    assert not torch.equal(refined["paint.table"], painted["paint.table"])
    twins = [entry.get("twin") is not None for entry in run.read_log()]
    assert twins == [True] * 3 + [False] * 3 + [True] * 6


@needs_weights
def test_until_stops_and_resume_goes_on_as_if_it_had_not(tmp_path):
    whole = scorelift.generate("a yellow duck", out=tmp_path / "whole", recipe=tiny("texture"), quiet=True)
    parts = scorelift.generate("a yellow duck", out=tmp_path / "parts", recipe=tiny("nerf"), quiet=True)
    assert parts.finished
    assert not (parts.path / "stages").exists()
    asset = (parts.path / "asset.glb").read_bytes()
    begun = parts.changed("geometry", parts.recipe.finish)  # and stopped at once
    with pytest.raises(ScoreliftError, match=r"expected a run with an asset\.glb"):
        export_run(begun, "obj")
    assert (begun.path / "stages" / "nerf" / "asset.glb").read_bytes() == asset
    parts = scorelift.generate("a yellow duck", out=tmp_path / "parts", recipe=tiny("texture"), quiet=True, resume=True)
    for ours, theirs in zip(states(parts), states(whole), strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert parts.read_log() == whole.read_log()
    again = scorelift.generate("a yellow duck", out=tmp_path / "parts", recipe=tiny("texture"), quiet=True, resume=True)
    assert again.finished
    with pytest.raises(ScoreliftError, match="not before texture"):
        scorelift.generate("a yellow duck", out=tmp_path / "parts", recipe=tiny("nerf"), quiet=True, resume=True)


def test_a_place_is_hollow_and_cameras_stand_in_it(generator):
    recipe = find_recipe("dreamflow", "scene")
    assert list(recipe.stages()) == ["nerf"]
    field, cameras = recipe.nerf.scene, recipe.nerf.cameras.draw(32, generator)
    away = cameras.position.norm(dim=-1)
    assert 0.09 < away.min() < 0.6
    assert 1.8 < away.max() < 2.31 < field.blob_radius
    scene = build_scene(replace(field, levels=4, log2_rows=10, finest=64, coarse_samples=128, environment=False))
    render = scene.render(cameras, 12, background=torch.zeros(32, 3, 1, 1))
    assert render.opacity.min() > 0.99  # walls all around ...
    assert render.depth.min() > 0.1  # ... and none before the camera
    assert render.depth.max() < field.extent + 2.5
    assert scene.field.density_at(torch.zeros(1, 3)) < 1e-3
    looks = recipe.finish.ring(4)
    assert looks.position.norm(dim=-1).tolist() == pytest.approx([1.5] * 4)
    assert looks.fovy_deg.tolist() == [60.0] * 4


@needs_weights
def test_a_place_leaves_pictures_from_inside_and_a_mesh(tmp_path):
    recipe = find_recipe("dreamflow", "scene")
    field = replace(recipe.nerf.scene, levels=3, log2_rows=10, finest=32, width=8, coarse_samples=48)
    twin = replace(recipe.nerf.distiller, twin=TwinConfig(kind="identity"))
    stage = replace(recipe.nerf, scene=field, size=32, steps=2, noise=Trajectory(levels=2), distiller=twin)
    finish = replace(tiny().finish, distance=1.5, fov_deg=60.0)
    run = scorelift.generate(
        "a red castle",
        out=tmp_path / "r",
        recipe=replace(recipe, prior="toybox", nerf=stage, finish=finish),
        quiet=True,
    )
    assert (run.path / "turntable.mp4").exists()
    walls = trimesh.load(run.path / "asset.glb", force="mesh").vertices
    assert np.linalg.norm(walls, axis=-1).min() > 1.0  # the middle is free


@needs_weights
def test_a_scene_of_another_run_is_told_not_to_fit_before_the_first_step(tmp_path):
    made = scorelift.generate("a yellow duck", out=tmp_path / "made", recipe=tiny("nerf"), quiet=True)
    other = tiny("nerf")
    other = replace(other, nerf=replace(other.nerf, scene=replace(other.nerf.scene, density_bias=4.0)))
    with pytest.raises(
        ScoreliftError, match=r"nerf\.scene\.density_bias: expected 5\.0, as in the scene to start .* Set --nerf"
    ):
        scorelift.generate("a yellow duck", out=tmp_path / "r", start=made.path, recipe=other, quiet=True)
    assert not (tmp_path / "r").exists()


def test_until_may_name_a_part():
    assert list(replace(find_recipe("dreamflow"), until="mesh").stages()) == ["nerf", "geometry", "texture"]


@needs_weights
def test_a_stages_own_prior_comes_when_the_one_before_has_gone(tmp_path, monkeypatch):
    seen, plain, before = [], job.load_prior, []

    def watched(name, *args):
        seen.append((name, [prior() for prior in before]))
        return plain(name, *args)

    def held(self, *args, **kwargs):
        begin(self, *args, **kwargs)
        before.append(weakref.ref(self.prior))

    begin = job.Job.__init__
    monkeypatch.setattr(job.Job, "__init__", held)
    monkeypatch.setattr(job, "load_prior", watched)
    recipe = tiny("texture")
    recipe = replace(recipe, texture=replace(recipe.texture, prior=str(weights_path())))
    scorelift.generate("a yellow duck", out=tmp_path / "r", recipe=recipe, quiet=True)
    assert seen == [(str(weights_path()), [None])]


def test_fewer_steps_take_fewer_levels_so_that_the_whole_way_is_gone():
    full = find_recipe("dreamflow")
    assert full.with_steps(100).nerf.noise.levels == 20  # five steps a level still
    assert full.with_steps(2).nerf.noise.levels == 1
    assert find_recipe("dreamflow", "small").with_steps(50).geometry.noise.levels == 50
    begun = replace(find_recipe("dreamflow", "small"), until="nerf").with_steps(2)
    assert [stage.steps for stage in replace(begun, until=None).stages().values()] == [
        2
    ] * 4  # for when it is continued
    with pytest.raises(ScoreliftError, match="levels: expected at most the stage's steps, 300"):
        replace(find_recipe("dreamflow", "small").nerf, steps=300)


def test_bad_stages_are_refused():
    with pytest.raises(ScoreliftError, match="until: expected one of nerf, geometry, texture, refine, mesh"):
        replace(find_recipe("dreamflow"), until="field")
    with pytest.raises(ScoreliftError, match="0 <= end < start"):
        Trajectory(start=0.2, end=0.4)


@needs_weights
def test_a_later_stages_prior_is_looked_for_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nothing"))
    recipe = tiny()
    recipe = replace(recipe, refine=replace(recipe.refine, prior="sdxl-refinery"))
    with pytest.raises(ScoreliftError, match="Did you mean sdxl-refiner"):
        scorelift.generate("a yellow duck", out=tmp_path / "r", recipe=recipe, quiet=True)
    assert not (tmp_path / "r").exists()


@needs_weights
def test_thin_fog_is_rescued_by_a_density_when_it_is_resumed(tmp_path):
    recipe = tiny("nerf")
    thin = replace(recipe.nerf.scene, blob=2.0, density_bias=-3.0)
    recipe = replace(recipe, nerf=replace(recipe.nerf, scene=thin))
    for _ in range(2):
        with pytest.raises(EmptySceneError, match=r"--finish\.density"):
            scorelift.generate("a yellow duck", out=tmp_path / "r", recipe=recipe, quiet=True, resume=True)
    recipe = replace(recipe, finish=replace(recipe.finish, density=0.08))
    run = scorelift.generate("a yellow duck", out=tmp_path / "r", recipe=recipe, quiet=True, resume=True)
    assert len(trimesh.load(run.path / "asset.glb", force="mesh").faces) > 50


@needs_weights
def test_a_surface_that_vanishes_is_said_and_the_stage_before_kept(tmp_path):
    recipe = tiny()
    thin = replace(recipe.nerf.scene, blob=0.0, density_bias=-12.0)
    alone = replace(recipe.nerf.distiller, twin=TwinConfig(kind="identity"))
    still = AdamW(rate=Constant(1e-6))
    recipe = replace(recipe, nerf=replace(recipe.nerf, scene=thin, distiller=alone, optimizer=still))
    with pytest.raises(ScoreliftError, match="empty"):
        scorelift.generate("a yellow duck", out=tmp_path / "r", recipe=recipe, quiet=True)
    assert list((tmp_path / "r" / "checkpoints").glob("0-nerf-*"))
