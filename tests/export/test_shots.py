import dataclasses

import numpy as np
import pytest
import torch
from test_surface import two_coloured_ball

from scorelift.core.errors import ScoreliftError
from scorelift.export.shots import MODES, Shot, shoot_mesh, shoot_scene
from scorelift.export.surface import extract_surface
from scorelift.export.texture import bake, colour_of
from scorelift.export.triangles import texture_at, visible_faces


@pytest.fixture(scope="module")
def both():
    scene = two_coloured_ball(resolution=64)
    with torch.no_grad():
        scene.field.density.mul_(5)  # a sharp surface: a soft one has no single place
    return scene, bake(colour_of(scene), extract_surface(scene, resolution=72, faces=4000), 256)


@pytest.mark.parametrize("mode", MODES)
def test_scene_and_mesh_look_alike(both, mode):
    scene, asset = both
    shot = Shot(mode=mode, azimuth_deg=60, elevation_deg=20, resolution=64, light_azimuth_deg=100)
    a, b = shoot_scene(scene, shot), shoot_mesh(asset, shot)
    assert a.shape == b.shape == (3, 64, 64)
    assert float((a - b).abs().mean()) < 0.04


def test_a_near_triangle_hides_a_far_one():
    vertices = np.array(
        [[0.5, -1, -1], [0.5, 1, -1], [0.5, 0, 1], [-0.5, -1, -1], [-0.5, 1, -1], [-0.5, 0, 1]], np.float32
    )
    faces = np.array([[3, 4, 5], [0, 1, 2]], np.int32)
    camera = Shot(azimuth_deg=0, elevation_deg=0).camera()
    pixel, face, weights = visible_faces(vertices, faces, camera, 32)
    assert len(np.unique(pixel)) == len(pixel)
    assert face[pixel == 16 * 32 + 16] == 1
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    behind = visible_faces(vertices, faces, Shot(azimuth_deg=180, elevation_deg=0).camera(), 32)
    assert behind[1][behind[0] == 16 * 32 + 16] == 0


def test_weights_are_perspective_correct():
    """Along the ray through a pixel, the weighted corners lie on the ray."""
    vertices = np.array([[1.0, -0.6, -0.5], [-0.9, 0.7, -0.4], [0.2, 0.1, 0.9]], np.float32)
    camera = Shot(azimuth_deg=20, elevation_deg=30).camera()
    pixel, _, weights = visible_faces(vertices, np.array([[0, 1, 2]], np.int32), camera, 24)
    points = torch.from_numpy(weights @ vertices)
    origin, rays = camera.rays(24, 24)
    toward = torch.nn.functional.normalize(points - origin[0], dim=-1)
    torch.testing.assert_close(toward, rays[0].reshape(-1, 3)[torch.from_numpy(pixel)], atol=1e-4, rtol=0)


def test_texture_by_hand():
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 1] = 255  # upper right: u = .75, v = .75
    got = texture_at(picture, np.array([[0.75, 0.75], [0.25, 0.25], [0.5, 0.75]], np.float32))
    np.testing.assert_allclose(got[:, 0], [1, 0, 0.5], atol=1e-6)


def test_moving_the_light_moves_the_bright_side(both):
    scene, _ = both
    shot = Shot(mode="textureless", azimuth_deg=0, elevation_deg=0, resolution=32, light_elevation_deg=0)
    left, right = (shoot_scene(scene, dataclasses.replace(shot, light_azimuth_deg=a))[0] for a in (-90.0, 90.0))
    assert float(left[16, 9]) > float(right[16, 9])
    assert float(right[16, 22]) > float(left[16, 22])


def test_one_angle_of_the_light_is_enough():
    def light(**angles):
        shot = Shot(azimuth_deg=90, elevation_deg=10, **angles)
        return [round(x, 3) for x in shot.lights(shot.camera()).position[0].tolist()]

    assert light(light_elevation_deg=90) == [0, 0, 3]
    assert light(light_elevation_deg=0) == [0, 3, 0]  # from where the camera is
    assert light(light_azimuth_deg=0) == light(light_azimuth_deg=0, light_elevation_deg=50)
    assert light() not in (light(light_elevation_deg=0), light(light_azimuth_deg=90))


@pytest.mark.parametrize(
    "bad", [{"elevation_deg": 100}, {"light_elevation_deg": 91}, {"ambient": 2}, {"resolution": 2}, {"fill": 0}]
)
def test_bad_shots(bad):
    with pytest.raises(ScoreliftError, match=next(iter(bad))):
        Shot(**bad)
