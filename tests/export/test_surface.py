import math

import numpy as np
import pytest
import torch

from scorelift.core.camera_samplers import ring
from scorelift.core.errors import EmptySceneError, ScoreliftError
from scorelift.engine.outputs import make_asset
from scorelift.export.pictures import close_up, preview, strip, turntable
from scorelift.export.surface import extract_surface
from scorelift.export.texture import bake, colour_of, unwrap
from scorelift.export.triangles import covered_cells
from scorelift.recipes.base import Finish
from scorelift.scenes import Volume, VoxelConfig, VoxelField
from scorelift.scenes.level import surface_density


def two_coloured_ball(radius=0.6, speck=False, resolution=48) -> Volume:
    """A ball, red in front (+x), green behind, with a soft surface; optionally a speck beside it."""
    scene = Volume(VoxelField(VoxelConfig(resolution=resolution)))
    axis = torch.linspace(-1, 1, resolution)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    raw = 25 * (radius - torch.sqrt(x * x + y * y + z * z))
    if speck:
        raw = torch.maximum(raw, 25 * (0.04 - torch.sqrt((x - 0.75) ** 2 + (y - 0.6) ** 2 + z * z)))
    with torch.no_grad():
        scene.field.density.copy_(raw[..., None])
        scene.field.albedo[..., 0] = torch.where(x > 0, 6.0, -6.0)
        scene.field.albedo[..., 1] = torch.where(x > 0, -6.0, 6.0)
        scene.field.albedo[..., 2] = -6.0
    return scene


@pytest.fixture(scope="module")
def surface():
    return extract_surface(two_coloured_ball(), resolution=80, faces=3000)


def area_volume(surface):
    a, b, c = (surface.vertices[surface.faces[:, i]].astype(float) for i in range(3))
    cross = np.cross(b - a, c - a)
    return np.linalg.norm(cross, axis=-1).sum() / 2, np.einsum("fi,fi->f", a, np.cross(b, c)).sum() / 6


def half_light_radius(tangent: bool) -> float:
    """Where rays lose half their light: head on (the integral up to there is ln 2), or grazing (the whole is ln 2)."""

    def density(r):
        return 30 * torch.nn.functional.softplus(25 * (0.6 - r))

    if not tangent:
        r = torch.linspace(1.0, 0.4, 6001)
        return float(r[(torch.cumsum(density(r), 0) * 1e-4 > math.log(2)).float().argmax()])
    radii, along = torch.linspace(1.0, 0.4, 601), torch.linspace(-1, 1, 2001)
    total = density((radii[:, None] ** 2 + along**2).sqrt()).sum(1) * 1e-3
    return float(radii[(total > math.log(2)).float().argmax()])


def test_thin_fog_has_a_surface_where_one_is_asked_for():
    scene = Volume(VoxelField(VoxelConfig(resolution=48, density_scale=0.02, blob_sharpness=20.0, blob_depth=20.0)))
    with pytest.raises(EmptySceneError, match=r"densities .* to 0\.351.*add --resume and --finish\.density, a lower"):
        make_asset(scene, Finish(mesh_resolution=40))
    asset = make_asset(scene, Finish(mesh_resolution=40, texture=32, density=0.1))  # softplus(5): r = .5 * 3 / 4
    assert np.linalg.norm(asset.vertices, axis=-1) == pytest.approx(0.375, abs=0.02)
    with pytest.raises(ScoreliftError, match=r"finish\.density: expected a density that there is, below 0\.363, got 2"):
        make_asset(scene, Finish(mesh_resolution=40, density=2.0))


def test_a_ball_becomes_a_ball(surface):
    radius = np.linalg.norm(surface.vertices, axis=-1)
    assert half_light_radius(tangent=False) < float(radius.mean()) < half_light_radius(tangent=True)
    assert float(radius.std()) < 0.01
    area, volume = area_volume(surface)
    r = radius.mean()
    assert area == pytest.approx(4 * math.pi * r * r, rel=0.03)
    assert volume == pytest.approx(4 / 3 * math.pi * r**3, rel=0.03)  # positive: faces look outward
    assert len(surface.faces) <= 3000
    assert float((surface.normals * surface.vertices).sum(-1).min()) > 0


def test_watertight(surface):
    edges = np.sort(surface.faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts) == {2}


def test_specks_are_removed():
    scene = two_coloured_ball(speck=True)
    kept = extract_surface(scene, resolution=80, faces=3000, keep=0.0)
    clean = extract_surface(scene, resolution=80, faces=3000)
    assert float(kept.vertices[:, 0].max()) > 0.74
    assert float(clean.vertices[:, 0].max()) < 0.74


def test_blur_closes_pinholes(generator):
    scene = two_coloured_ball()
    with torch.no_grad():
        scene.field.density[torch.rand(scene.field.density.shape, generator=generator) < 0.15] = -8.0
    sharp = extract_surface(scene, resolution=80, faces=100_000, blur=0.0)
    level = extract_surface(scene, resolution=80, faces=100_000)
    assert area_volume(level)[0] < 0.65 * area_volume(sharp)[0]


def test_the_level_is_where_light_is_half_stopped():
    scene = two_coloured_ball()
    level = surface_density(scene.field)
    grazing = half_light_radius(tangent=True) + 0.02
    inside, outside = scene.field.at(torch.tensor([[0.5, 0.0, 0.0], [grazing, 0.0, 0.0]])).density().tolist()
    assert outside < level < inside


def test_texels_of_a_square_by_hand():
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    row, column, face, weights = covered_cells(uv[np.array([[0, 1, 2], [0, 2, 3]])] * 4, 4)
    assert set(zip(row.tolist(), column.tolist(), strict=True)) == {(i, j) for i in range(4) for j in range(4)}
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    first = (row == 0) & (column == 3) & (face == 0)
    np.testing.assert_allclose(weights[first][0], [0.125, 0.75, 0.125], atol=1e-5)


def test_unwrapping_keeps_the_surface(surface):
    old, faces, uv = unwrap(surface)
    assert len(faces) == len(surface.faces)
    assert 0 <= uv.min() <= uv.max() <= 1
    assert {tuple(f) for f in np.sort(old[faces], 1)} == {tuple(f) for f in np.sort(surface.faces, 1)}
    a = np.sort(surface.vertices[old[faces]].sum((1, 2)))
    np.testing.assert_allclose(a, np.sort(surface.vertices[surface.faces].sum((1, 2))), atol=1e-4)


def test_the_bake_puts_colours_where_they_belong(surface):
    asset = bake(colour_of(two_coloured_ball()), surface, 256)
    size = asset.albedo.shape[0]
    column = (asset.uv[:, 0] * size).astype(int).clip(0, size - 1)
    row = ((1 - asset.uv[:, 1]) * size).astype(int).clip(0, size - 1)
    colour = asset.albedo[row, column].astype(float)
    front, back = asset.vertices[:, 0] > 0.1, asset.vertices[:, 0] < -0.1
    assert (colour[front, 0] > 200).mean() > 0.97
    assert (colour[back, 1] > 200).mean() > 0.97
    assert (asset.albedo.sum(-1) > 0).all()  # seams are padded: no black


def test_an_empty_scene_is_an_error_that_helps():
    scene = Volume(VoxelField(VoxelConfig(resolution=16, blob_depth=30.0)))
    with torch.no_grad():
        scene.field.density.fill_(-20)
    with pytest.raises(ScoreliftError, match=r"the scene is empty.*--seed"):
        extract_surface(scene, resolution=32, faces=100)


def test_pictures_of_a_scene():
    scene = two_coloured_ball(resolution=24)
    sheet = preview(scene, ring(4), 32)
    assert sheet.shape == (4 * 32, 4 * 32, 3)
    centre = sheet[16, 16].astype(int)
    behind = sheet[16, 2 * 32 + 16].astype(int)
    assert centre[0] > 200 > centre[1]  # the front is red
    assert behind[1] > 200 > behind[0]  # the back is green
    assert len(np.unique(sheet[96:].reshape(-1, 3), axis=0)) > 3  # depth varies
    frames = turntable(scene, ring(6), 32)
    assert len(frames) == 6
    assert strip(scene, ring(4), 16).shape == (16, 64, 3)


def test_the_camera_comes_as_near_as_the_toy_allows():
    def height(scene, zoom):
        sheet = preview(scene, Finish().ring(1, zoom=zoom), 64)[:64].astype(int)
        return int((abs(sheet - sheet[0, 0]).sum(-1) > 60).any(1).sum())

    small, large = two_coloured_ball(radius=0.4), two_coloured_ball(radius=0.9)
    assert height(small, 1.0) < 35
    assert 50 < height(small, close_up(small, Finish().ring(8))) < 62
    assert 0.9 < close_up(large, Finish().ring(8)) < 1.2
    assert close_up(two_coloured_ball(radius=-0.5), Finish().ring(8)) == 1.0  # nothing there


def test_a_crate_stays_whole_from_every_side():
    crate = two_coloured_ball()
    x = torch.linspace(-1, 1, 48).abs()
    with torch.no_grad():
        crate.field.density[..., 0] = 25 * (0.5 - torch.stack(torch.meshgrid(x, x, x, indexing="ij")).amax(0))
    finish = Finish()
    for frame in turntable(crate, finish.ring(16, 18.0, close_up(crate, finish.ring(8))), 64):
        edge = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]]).astype(int)
        assert abs(edge - frame[0, 0]).max() < 10
