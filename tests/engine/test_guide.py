"""A mesh that guides a field: distances, insides, the loss by hand, what files are refused, and what it does."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import trimesh

import scorelift
from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.core.schedules import Constant
from scorelift.engine import guide as guides
from scorelift.engine.guide import DOUBT, STEP, Shape, check_guide, load_guide, read_mesh, shape_of
from scorelift.engine.loop import Loop
from scorelift.priors.registry import load_prior
from scorelift.recipes import find_recipe
from scorelift.recipes.base import Finish, Guide
from scorelift.scenes import CanvasConfig, GaussianConfig, HashConfig, VoxelConfig, build_scene


def sphere(radius, centre=(0.0, 0.0, 0.0)):
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    mesh.apply_translation(centre)
    return mesh


@pytest.fixture
def balls(tmp_path):
    """Two balls that overlap, one on the other, in a file's axes: +y is up."""
    path = tmp_path / "balls.glb"
    trimesh.util.concatenate([sphere(0.3, (0, -0.2, 0)), sphere(0.2, (0, 0.2, 0))]).export(path)
    return path


def test_distances_are_those_of_a_ball():
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    shape = shape_of(mesh.vertices, mesh.faces)
    xyz = 2 * torch.rand(4000, 3, generator=torch.Generator().manual_seed(0)) - 1
    true = xyz.norm(dim=-1) - 0.5
    assert float((shape.at(xyz) - true).abs().max()) < 0.03
    assert float((shape.at(xyz) - true).abs().mean()) < 0.004


def test_what_lies_in_several_closed_parts_is_inside(balls):
    vertices, faces = read_mesh(Guide(path=str(balls), radius=None))
    shape = shape_of(vertices, faces)
    inside = [[0, 0, -0.2], [0, 0, 0.2], [0, 0, 0.05], [0.25, 0, -0.2]]  # up is z now; the third is in both
    outside = [[0, 0, 0.5], [0.25, 0, 0.2], [0, 0.5, 0], [0, -0.2, 0.2]]
    assert bool((shape.at(torch.tensor(inside)) < 0).all())
    assert bool((shape.at(torch.tensor(outside)) > -0.01).all())


def test_points_on_edges_are_counted_once():
    box = trimesh.creation.box((1.0, 1.0, 1.0))  # its diagonals run along lines of points
    inside = guides.winding_numbers(np.asarray(box.vertices), np.asarray(box.faces), 33)
    axis = np.abs(np.linspace(-1, 1, 33))
    clear = np.abs(axis - 0.5) > 1e-3
    x, y, z = np.meshgrid(axis < 0.5, axis < 0.5, axis < 0.5, indexing="ij")
    known = np.ix_(clear, clear, clear)
    assert np.array_equal(inside[known], (x & y & z)[known].astype(int))


def test_a_mesh_is_centred_and_brought_to_size(balls):
    vertices, _ = read_mesh(Guide(path=str(balls), radius=0.6))
    assert np.linalg.norm(vertices, axis=1).max() == pytest.approx(0.6)
    np.testing.assert_allclose(vertices.min(0) + vertices.max(0), 0, atol=1e-6)
    assert np.ptp(vertices[:, 2]) > np.ptp(vertices[:, 0])  # tall


def test_the_loss_by_hand():
    scene = build_scene(VoxelConfig(resolution=16, blob_sharpness=0.0, density_scale=2.0))
    density = 2.0 * math.log(2)
    opacity = 1 - math.exp(-STEP * density)
    clear, full = -math.log(1 - DOUBT), -math.log(DOUBT)
    for distance, entropy in ((-0.2, opacity * clear + (1 - opacity) * full),
                              (0.2, opacity * full + (1 - opacity) * clear)):  # fmt: skip
        shape = Shape(torch.full((4, 4, 4, 1), distance))
        loss = shape.loss(scene, 0.25, torch.Generator().manual_seed(0))
        share = math.pi / 6  # of the places, in the ball
        there = entropy * share + (clear if distance > 0 else full) * (1 - share)
        assert float(loss.detach()) == pytest.approx(there * (1 - math.exp(-0.5 * (0.2 / 0.25) ** 2)), rel=0.02)


def test_it_does_not_insist_at_the_surface():
    scene = build_scene(VoxelConfig(resolution=16))
    loss = Shape(torch.zeros(4, 4, 4, 1)).loss(scene, 0.25, torch.Generator())
    assert float(loss.detach()) == 0


@pytest.mark.parametrize("config", [VoxelConfig(resolution=16), HashConfig(levels=3, finest=32, log2_rows=15)])
def test_a_field_becomes_the_mesh(config, balls):
    """Under the loss alone."""
    shape = shape_of(*read_mesh(Guide(path=str(balls))))
    scene = build_scene(config)
    optimizer = torch.optim.Adam(scene.groups(1.0)[0]["params"] + scene.groups(1.0)[1]["params"], lr=0.1)
    for step in range(60):
        optimizer.zero_grad()
        shape.loss(scene, 0.05, torch.Generator().manual_seed(step)).backward()
        optimizer.step()
    inside, outside = torch.tensor([[0.0, 0, -0.3], [0.0, 0, 0.5]]), torch.tensor([[0.6, 0, 0.0], [0.0, 0.5, 0.5]])
    with torch.no_grad():
        assert float(scene.field.density_at(inside).min()) > 5
        assert float(scene.field.density_at(outside).max()) < 0.5


def test_gaussians_become_the_mesh(balls):
    """Under the loss alone: where there is a ball, and nowhere else."""
    shape = shape_of(*read_mesh(Guide(path=str(balls))))
    scene = build_scene(GaussianConfig(count=300, most=300))
    optimizer = torch.optim.Adam(scene.groups(0.03))
    for step in range(100):
        optimizer.zero_grad()
        shape.loss(scene, 0.05, torch.Generator().manual_seed(step)).backward()
        optimizer.step()
    inside, outside = torch.tensor([[0.0, 0, -0.3], [0.0, 0, 0.5]]), torch.tensor([[0.6, 0, 0.0], [0.0, 0.5, 0.5]])
    with torch.no_grad():
        assert float(scene.density_at(inside).min()) > 5
        assert float(scene.density_at(outside).max()) < 0.5


def bad_files(folder):
    """Files that are no guides, and what is said of them."""
    half = sphere(0.3)
    half.update_faces(half.triangles_center[:, 2] > 0)
    half.export(folder / "half.glb")
    (folder / "text.obj").write_text("a cup of tea\n")
    (folder / "broken.glb").write_bytes(b"glTF" + bytes(20))
    (folder / "empty.ply").write_text("ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\n"
                                      "property float z\nelement face 0\nproperty list uchar int vertex_indices\n"
                                      "end_header\n")  # fmt: skip
    (folder / "photo.png").write_bytes(b"")
    sphere(3.0).export(folder / "large.stl")
    return {
        "nowhere.glb": "a mesh file that exists", "": "a mesh file that exists", "photo.png": "a file of .glb",
        "broken.glb": "a mesh", "text.obj": "a mesh", "empty.ply": "a mesh", "half.glb": "which has holes",
        "large.stl": "up to 3",
    }  # fmt: skip


def test_what_is_no_guide_is_told_in_a_sentence(tmp_path):
    for name, said in bad_files(tmp_path).items():
        with pytest.raises(ScoreliftError, match=r"guide\.path: expected .*") as caught:
            read_mesh(Guide(path=str(tmp_path / name), radius=None))
        assert said in str(caught.value), name
        assert "\n" not in str(caught.value)


def test_only_what_has_density_is_guided(balls):
    recipe = find_recipe("magic3d", "small")
    guide = Guide(path=str(balls))
    check_guide(replace(recipe.coarse, guide=guide))
    check_guide(replace(find_recipe("quick").shape, guide=guide))
    assert load_guide(recipe.coarse) is None
    for stage in (recipe.fine, replace(recipe.coarse, scene=CanvasConfig())):
        with pytest.raises(ScoreliftError, match="guide: expected a stage whose scene has density"):
            check_guide(replace(stage, guide=guide))


@pytest.mark.parametrize("bad", [{"sigma": 0.0}, {"radius": 2.0}])
def test_bad_numbers_are_named(bad):
    with pytest.raises(ScoreliftError, match=f"guide.{next(iter(bad))}: expected"):
        Guide(**bad)


def test_a_run_with_a_guide_that_is_not_there_leaves_nothing(tmp_path):
    recipe = find_recipe("latentnerf", "small")
    refine = replace(recipe.refine, guide=Guide(path=str(tmp_path / "gone.glb")))
    with pytest.raises(ScoreliftError, match="a mesh file that exists"):
        scorelift.generate("a duck", recipe=replace(recipe, refine=refine), out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_the_command_line_takes_a_mesh(tmp_path, capsys):
    asked = ["generate", "a duck", "--recipe", "latentnerf", "--preset", "small", "--out", str(tmp_path / "run")]
    assert main([*asked, "--latent.guide.path", str(tmp_path / "gone.glb")]) == 2
    assert "guide.path: expected a mesh file that exists" in capsys.readouterr().err
    assert main([*asked, "--latent.guide.sigma", "0"]) == 2
    assert "sigma" in capsys.readouterr().err


def tiny(path, steps=3):
    recipe = find_recipe("latentnerf", "small").with_steps(steps)
    finish = Finish(mesh_resolution=24, faces=300, texture=32, turntable_frames=2, turntable_size=16, preview_size=16)
    scene = replace(recipe.latent.scene, resolution=20, density_scale=100.0)
    latent = replace(recipe.latent, scene=scene, guide=Guide(path=str(path), weight=Constant(1.0)))
    return replace(recipe, latent=latent, refine=replace(recipe.refine, scene=scene), finish=finish)


def test_a_guided_run_resumes_bit_for_bit(balls, tmp_path):
    recipe = tiny(balls)
    whole = scorelift.generate("a duck", recipe=recipe, out=tmp_path / "whole", quiet=True)
    plain = replace(recipe, latent=replace(recipe.latent, guide=Guide()))
    other = scorelift.generate("a duck", recipe=plain, out=tmp_path / "other", quiet=True)
    first = scorelift.generate("a duck", recipe=replace(recipe, until="latent"), out=tmp_path / "parts", quiet=True)
    assert not (first.path / "stages").exists()
    parts = scorelift.generate("a duck", recipe=recipe, out=tmp_path / "parts", resume=True, quiet=True)
    states = [run.load_checkpoint(run.checkpoints()[-1])["scene"] for run in (whole, parts, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert not torch.equal(states[0]["field.density"], states[2]["field.density"])
    assert whole.recipe.latent.guide.path == str(balls)


def test_a_mesh_that_has_changed_is_told_when_the_run_goes_on(balls, tmp_path, monkeypatch, capsys):
    take = Loop.one_step

    def one_step(loop):
        if loop.step == 1:
            raise MemoryError("killed")
        return take(loop)

    recipe = replace(tiny(balls, 2), until="latent")
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "one_step", one_step)
        with pytest.raises(MemoryError):
            scorelift.generate("a duck", recipe=recipe, out=tmp_path / "r", quiet=True)
    mesh, config = balls.read_bytes(), (tmp_path / "r" / "config.json").read_bytes()
    sphere(0.3).export(balls)
    words = ["generate", "a duck", "--recipe", "latentnerf", "--out", str(tmp_path / "r"), "--resume", "--quiet"]
    assert main([*words, "--until", "latent"]) == 2
    told = capsys.readouterr().err
    assert f"latent.guide.path: expected the mesh with which the run in {tmp_path / 'r'} was begun, got " in told
    assert told.endswith("'another now'. Put the old one back, or choose another --out.\n")
    assert (tmp_path / "r" / "config.json").read_bytes() == config
    balls.write_bytes(mesh)
    assert main([*words, "--until", "latent"]) == 0


def test_hashes_of_meshes(balls, tmp_path):
    def found(path):
        return guides.mesh_hashes(tiny(path))["latent.guide.path"]

    assert guides.mesh_hashes(find_recipe("latentnerf")) == {}
    first = found(balls)
    assert first == found(balls)
    sphere(0.3).export(balls)
    assert first != found(balls)
    for name, data in sphere(0.3).export(file_type="gltf").items():  # a file, and its numbers beside it
        (tmp_path / name).write_bytes(data)
    (model,) = tmp_path.glob("*.gltf")
    beside = next(path for path in tmp_path.iterdir() if path.suffix == ".bin")
    first = found(model)
    beside.write_bytes(beside.read_bytes()[:-8] + bytes(8))
    assert first != found(model)


def test_guides_of_later_stages_are_kept_when_those_are_asked_for(tmp_path):
    recipe = tiny(tmp_path / "a.glb")
    both = replace(recipe, refine=replace(recipe.refine, guide=Guide(path="b.glb")))
    run = scorelift.engine.run.Run.create(tmp_path / "r", "a duck", both)
    first, second = "latent.guide.path", "refine.guide.path"
    for hashes in ({first: "1"}, {first: "1", second: "2"}, {second: "2"}):
        run.keep_meshes(hashes)
    run = scorelift.engine.run.Run.open(run.path)
    assert run.config["meshes"] == {first: "1", second: "2"}
    with pytest.raises(ScoreliftError, match=r"refine\.guide\.path: .* got 'another now'"):
        run.keep_meshes({first: "1", second: "3"})


def test_runs_of_an_earlier_version_know_their_guides(tmp_path):
    run = scorelift.engine.run.Run.create(tmp_path / "r", "a duck", tiny(tmp_path / "a.glb"))
    run = scorelift.engine.run.Run(run.path, {**run.config, "guides": {"latent": "1"}})
    with pytest.raises(ScoreliftError, match=r"latent\.guide\.path: .* got 'another now'"):
        run.keep_meshes({"latent.guide.path": "2"})


def test_parts_of_the_views_are_guided_as_the_whole(balls):
    stage = replace(find_recipe("latentnerf", "small").latent, views=2, guide=Guide(path=str(balls)), size=32,
                    steps=4)  # fmt: skip
    stage = replace(stage, scene=replace(stage.scene, resolution=16))
    prior, after = load_prior("toybox"), []
    for slices in (1, 2):
        loop = Loop("latent", replace(stage, slices=slices), build_scene(stage.scene), prior, "a duck", seed=0)
        loop.one_step()
        after.append(loop.scene.field.density.grad.clone())
    torch.testing.assert_close(*after, atol=1e-7, rtol=1e-3)
