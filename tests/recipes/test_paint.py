"""Painting a mesh of one's own, as a user does it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import trimesh

import scorelift
from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.engine.plan import plan
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.recipes.optimizers import AdamW

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")
FAST = ["--colours.scene.paint.resolution", "12", "--finish.texture", "32", "--finish.turntable-frames", "2",
        "--finish.turntable-size", "32", "--finish.preview-size", "24", "--quiet"]  # fmt: skip


@pytest.fixture
def box(tmp_path):
    """An open box, not at the origin."""
    mesh = trimesh.creation.box((2, 1, 3))
    mesh.update_faces(np.arange(len(mesh.faces)) > 1)
    mesh.apply_translation([0, 4, 0])
    mesh.export(tmp_path / "box.obj")
    return tmp_path / "box.obj"


def test_latent_paints_numbers():
    recipe = find_recipe("paint", "large")
    stage = recipe.colours
    assert (recipe.prior, stage.steps, stage.size, stage.distiller.cfg_scale) == ("sd21-base", 5000, 512, 100.0)
    assert isinstance(stage.optimizer, AdamW)
    assert stage.optimizer.rate.at(0.5) == 1e-2


@needs_weights
def test_a_mesh_is_painted_and_stays_as_it_is(box, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["paint", str(box), "a red car", "--steps", "3", "--out", "run", *FAST]
    assert main(words) == 0
    before, after = (trimesh.load(path, force="mesh") for path in (box, tmp_path / "run" / "asset.glb"))
    np.testing.assert_allclose(after.bounds, before.bounds, atol=1e-5)
    assert len(after.faces) == len(before.faces) == 10
    assert after.area == pytest.approx(before.area, rel=1e-5)
    assert main(["export", "run", "--format", "obj"]) == 0
    np.testing.assert_allclose(
        trimesh.load(tmp_path / "run" / "asset.obj", force="mesh").bounds, before.bounds, atol=1e-4
    )
    meshes = json.loads((tmp_path / "run" / "config.json").read_text())["meshes"]
    assert list(meshes) == ["colours.scene.mesh"]
    box.unlink()
    assert main(["render", "run", "--resolution", "32"]) == 0  # a run holds its mesh


@needs_weights
def test_it_resumes_with_the_same_mesh_only(box, tmp_path, capsys):
    recipe = find_recipe("paint").with_steps(4)
    scene = replace(recipe.colours.scene, paint=replace(recipe.colours.scene.paint, resolution=12))
    recipe = replace(recipe, colours=replace(recipe.colours, scene=scene, size=32))
    run = scorelift.paint(box, "a red car", recipe=recipe, out=tmp_path / "run", quiet=True)
    (run.path / "metrics.json").unlink()
    scorelift.paint(box, "a red car", recipe=recipe, out=tmp_path / "run", resume=True, quiet=True)
    (run.path / "metrics.json").unlink()
    trimesh.creation.box((1, 1, 1)).export(box)
    with pytest.raises(ScoreliftError, match=r"colours\.scene\.mesh: expected the mesh with which .* was begun"):
        scorelift.paint(box, "a red car", recipe=recipe, out=tmp_path / "run", resume=True, quiet=True)
    with pytest.raises(ScoreliftError, match="preset: expected None"):
        scorelift.paint(box, "a red car", recipe=recipe, preset="large")


def test_what_is_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "note.txt").write_text("no mesh")
    for words, said in (
        (["paint"], "mesh: expected a mesh to paint, then a prompt, then options, got 'none'."),
        (["paint", "--seed", "1", "car.glb", "a red car"], "then a prompt, then options, got '--seed'."),
        (["paint", "car.glb", "a red car", "--recipe", "sjc"], "recipe: expected paint, got 'sjc'."),
        (["paint", "gone.glb", "a red car"], "scene.mesh: expected a mesh file that exists, got 'gone.glb'"),
        (["paint", "note.txt", "a red car"], "scene.mesh: expected a file of .glb"),
        (["generate", "a red car", "--recipe", "paint"], "mesh: expected a mesh to paint, got 'none'."),
    ):
        assert main(words) == 2
        assert said in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    assert main(["paint", "--help"]) == 0
    assert "--colours.steps" in capsys.readouterr().out


def test_a_recipe_by_its_name(tmp_path):
    with pytest.raises(ScoreliftError, match=r"expected a mesh file that exists, got 'gone\.glb'"):
        scorelift.paint("gone.glb", "a red car", recipe="paint", preset="large", prior="toybox", out=tmp_path / "r")
    with pytest.raises(ScoreliftError, match="recipe: expected paint, got 'quick'"):
        scorelift.paint("gone.glb", "a red car", recipe="quick")


def test_its_memory_is_counted(box):
    (stage,) = plan(find_recipe("paint").of(str(box)), "a red car")
    assert stage.need(stage.ladder[0]).peak > 1e6
