"""Every recipe on a device that is not the CPU: a tensor left behind is an error there, as on a GPU."""

import json
from dataclasses import replace

import pytest
import torch
import trimesh

from elsewhere import AWAY, Wrapped, elsewhere
from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.distill.scorers import load_scorer
from scorelift.distill.similarity import Similarity
from scorelift.engine.generate import generate, pick_device
from scorelift.recipes import find_recipe
from scorelift.recipes.base import Finish, Guide
from scorelift.scenes import CanvasConfig, GaussianConfig, HashConfig, MeshConfig, MLPConfig, VoxelConfig
from scorelift.scenes.network import NetworkField

TINY = Finish(mesh_resolution=24, faces=500, texture=32, turntable_frames=2, turntable_size=16, preview_size=16,
              every_stage=True)  # fmt: skip


def test_the_device_tells_what_was_left_behind():
    with elsewhere():
        there = torch.arange(6.0).to(AWAY)
        assert isinstance(there, Wrapped)
        assert there.device.type == AWAY
        assert (2 * there).cpu().tolist() == [0, 2, 4, 6, 8, 10]
        assert there[[1, 2]].tolist() == there[torch.tensor([1, 2])].tolist() == [1, 2]
        assert torch.tensor([1.0, 2], device=there.device).sum().item() == 3
        with pytest.raises(RuntimeError, match="two devices"):
            there + torch.ones(6)
        with pytest.raises(RuntimeError, match="two devices"):
            torch.ones(6)[there > 2]
        weight = there.clone().requires_grad_()
        (weight.square().sum() / 2).backward()
        assert torch.equal(weight.grad.cpu(), there.cpu())


def test_devices_that_are_not_there_are_told(monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    with pytest.raises(ScoreliftError, match="an Apple GPU that torch can see"):
        pick_device("mps")
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    assert pick_device("mps") == "mps"
    with pytest.raises(ScoreliftError, match="device: expected one of auto, cpu, cuda, mps"):
        pick_device("tpu")


def thin(paint):
    """Colours that cost little."""
    return replace(paint, resolution=16) if isinstance(paint, VoxelConfig) else replace(paint, coarse_samples=12)


def thick(stage):
    """A stage of one step that leaves a surface, in small."""
    scene = stage.scene
    if isinstance(scene, HashConfig | MLPConfig):
        scene = replace(scene, density_bias=3.0, coarse_samples=12, fine_samples=min(scene.fine_samples, 4))
    if isinstance(scene, VoxelConfig):
        scene = replace(scene, resolution=16, density_scale=300.0)
    if isinstance(scene, MeshConfig):
        scene = replace(scene, resolution=12, paint=thin(scene.paint))
    if isinstance(scene, GaussianConfig):
        scene = replace(scene, count=300, most=400, opacity=0.9)
    if isinstance(scene, CanvasConfig):
        return stage.lasting(1)
    return replace(stage.lasting(1), scene=scene, size=min(stage.size, 64), views=1, slices=1)


LONG = [pytest.param(name, "small", marks=pytest.mark.slow) for name in ("dreamflow", "prolificdreamer", "magic3d")]


@pytest.mark.parametrize(
    ("name", "preset"),
    [("quick", None), ("canvas", None), ("sjc", "small"), ("dreamfusion", "small"), ("fantasia3d", "small"),
     ("latentnerf", "small"), ("dreamfields", "small"), ("dreamgaussian", "small"), *LONG],
)  # fmt: skip
def test_a_whole_run(name, preset, tmp_path, monkeypatch):
    """All stages, previews on the way, twins, the mesh, pictures at the end."""
    monkeypatch.setattr("scorelift.engine.generate.pick_device", lambda _: AWAY)
    monkeypatch.setattr("scorelift.engine.job.PREVIEW_S", 0.0)
    whole = NetworkField.voxels
    monkeypatch.setattr(NetworkField, "voxels", lambda field, resolution: whole(field, min(resolution, 16)))
    recipe = find_recipe(name, preset)
    recipe = replace(recipe, finish=TINY).with_stages({n: thick(s) for n, s in recipe.stages().items()})
    with elsewhere():
        run = generate("a red mushroom", recipe=recipe, out=tmp_path / "run", quiet=True)
    assert json.loads((run.path / "metrics.json").read_text())["device"] == AWAY
    assert (run.path / "preview.png").exists()
    assert (run.path / "asset.glb").exists() == (name != "canvas")


def test_a_guided_run(tmp_path, monkeypatch):
    """The mesh's distances are where the scene is."""
    monkeypatch.setattr("scorelift.engine.generate.pick_device", lambda _: AWAY)
    trimesh.creation.icosphere().export(tmp_path / "ball.glb")
    recipe = find_recipe("latentnerf", "small")
    latent = replace(thick(recipe.latent), guide=Guide(path=str(tmp_path / "ball.glb")))
    recipe = replace(recipe, latent=latent, until="latent", finish=TINY)
    with elsewhere():
        run = generate("a red mushroom", recipe=recipe, out=tmp_path / "run", quiet=True)
    assert run.read_log()[0]["penalty"] > 1


def test_a_painted_mesh(tmp_path, monkeypatch):
    monkeypatch.setattr("scorelift.engine.generate.pick_device", lambda _: AWAY)
    trimesh.creation.icosphere().export(tmp_path / "ball.glb")
    recipe = find_recipe("paint").of(str(tmp_path / "ball.glb"))
    scene = replace(recipe.colours.scene, paint=thin(recipe.colours.scene.paint))
    recipe = replace(recipe, colours=replace(recipe.colours.lasting(1), scene=scene), finish=TINY)
    with elsewhere():
        run = generate("a red mushroom", recipe=recipe, out=tmp_path / "run", quiet=True)
    assert (run.path / "asset.glb").exists()


def test_samples(tmp_path, monkeypatch):
    monkeypatch.setattr("scorelift.engine.generate.pick_device", lambda _: AWAY)
    with elsewhere():
        assert main(["sample", "a red car", "--n", "2", "--steps", "2", "--out", str(tmp_path / "cars.png")]) == 0
    assert (tmp_path / "cars.png").exists()


def test_likeness_to_the_caption(tmp_path, monkeypatch):
    """Dream Fields' objective: the scorer is where the pictures are."""
    monkeypatch.setattr("scorelift.engine.generate.pick_device", lambda _: AWAY)
    recipe = find_recipe("canvas").with_steps(1)
    picture = replace(recipe.picture, distiller=Similarity())
    with elsewhere():
        run = generate("a red mushroom", recipe=replace(recipe, picture=picture), out=tmp_path / "run", quiet=True)
        load_scorer.cache_clear()
    assert run.read_log()[0]["gradient"] > 0
