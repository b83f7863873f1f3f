"""Meshes that users bring: read, placed, painted, kept."""

import math

import numpy as np
import pytest
import torch
import trimesh

from scorelift.core.camera_samplers import ring
from scorelift.core.errors import ScoreliftError
from scorelift.export.gltf import from_glb, to_glb
from scorelift.export.surface import extract_surface
from scorelift.export.texture import bake, colour_of
from scorelift.scenes import Model, ModelConfig, VoxelConfig, build_scene, unread_scene
from scorelift.scenes.given import read_given

PAINT = VoxelConfig(resolution=12, shape="box")


@pytest.fixture
def ball(tmp_path):
    """A ball of radius 2 about (5, 1, 0), in a file's axes."""
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=2)
    mesh.apply_translation([5, 1, 0])
    mesh.export(tmp_path / "ball.glb")
    return str(tmp_path / "ball.glb")


def test_a_file_is_turned_centred_and_scaled(ball):
    given = read_given(ball, "scene.mesh", radius=0.8)
    assert given.scale == pytest.approx(2 / 0.8, rel=1e-6)
    np.testing.assert_allclose(given.centre, [0, 5, 1], atol=1e-6)  # +x there is +y here, its up is +z
    np.testing.assert_allclose(np.linalg.norm(given.vertices, axis=1), 0.8, rtol=1e-5)
    with pytest.raises(ScoreliftError, match=r"scene\.mesh: expected a mesh within 1 of the origin.*scene\.radius"):
        read_given(ball, "scene.mesh", radius=None)


def test_it_is_drawn_at_its_size(ball):
    model = build_scene(ModelConfig(mesh=ball, paint=PAINT))
    render = model.render(ring(1, fill=0.8), 128, background=torch.zeros(1, 3, 1, 1))
    assert float(render.opacity.detach().sum()) == pytest.approx(math.pi * (0.4 * 128) ** 2, rel=0.01)
    torch.testing.assert_close(render.rgb, 0.5 * render.opacity.expand(-1, 3, -1, -1), atol=1e-5, rtol=0)


def test_colours_alone_are_learned(ball):
    model = build_scene(ModelConfig(mesh=ball, paint=PAINT))
    learned = [p for group in model.groups(1.0) for p in group["params"]]
    render = model.render(ring(2), 32, background=torch.zeros(2, 3, 1, 1))
    render.rgb.sum().backward()
    assert model.paint.albedo.grad.abs().sum() > 0
    assert any(p is model.paint.albedo for p in learned)
    assert not model.points.requires_grad


def test_its_state_brings_the_mesh(ball):
    model = build_scene(ModelConfig(mesh=ball, paint=PAINT))
    with torch.no_grad():
        model.paint.albedo.normal_()
    again = unread_scene(ModelConfig(mesh="gone.glb", paint=PAINT))
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.points, model.points)
    assert torch.equal(again.faces, model.faces)
    shown = [m.render(ring(1), 24, background=torch.zeros(1, 3, 1, 1)).rgb for m in (model, again)]
    assert torch.equal(*shown)


def test_exports_lie_where_the_file_lay(ball):
    model = build_scene(ModelConfig(mesh=ball, paint=PAINT))
    surface = extract_surface(model, resolution=8, faces=10)  # the mesh is the user's: nothing is simplified
    assert len(surface.faces) == len(model.faces)
    asset = bake(colour_of(model), surface, 32)
    scale, *centre = model.placement.tolist()
    asset = type(asset)(**{**vars(asset), "scale": scale, "centre": tuple(centre)})
    again = from_glb(to_glb(asset, "ball"))
    assert again.scale == pytest.approx(scale)
    np.testing.assert_allclose(again.centre, centre, atol=1e-6)
    np.testing.assert_allclose(again.vertices, asset.vertices, atol=1e-6)  # in the scene's own size
    placed = again.placed()
    np.testing.assert_allclose(np.linalg.norm(placed.vertices - [0, 5, 1], axis=1), 2, rtol=1e-5)
    seen = trimesh.load(trimesh.util.wrap_as_stream(to_glb(asset, "ball")), file_type="glb", force="mesh")
    np.testing.assert_allclose(seen.bounds, [[3, -1, -2], [7, 3, 2]], atol=1e-4)  # as other programs see it


def test_scenes_that_do_not_go_together(ball):
    model = build_scene(ModelConfig(mesh=ball, paint=PAINT))
    assert isinstance(build_scene(ModelConfig(mesh=ball, paint=PAINT), model), Model)
    with pytest.raises(ScoreliftError, match="a painted mesh to start from"):
        build_scene(ModelConfig(mesh=ball, paint=PAINT), build_scene(PAINT))
    with pytest.raises(ScoreliftError, match="a volume to start from"):
        build_scene(PAINT, model)
    with pytest.raises(ScoreliftError, match=r"mesh: expected a mesh to paint, got 'none'.*scorelift paint MESH"):
        build_scene(ModelConfig())
