import math

import pytest
import torch

from scorelift.core.cameras import direction, fov_for_size, look_at, orbit


def one(elevation: float, azimuth: float, distance: float = 2.0, fov: float = 40.0):
    return orbit(*(torch.tensor([v]) for v in (elevation, azimuth, distance, fov)))


@pytest.mark.parametrize(
    ("elevation", "azimuth", "place"),
    [
        (0.0, 0.0, (2, 0, 0)),
        (0.0, 90.0, (0, 2, 0)),
        (0.0, 180.0, (-2, 0, 0)),
        (30.0, 0.0, (math.sqrt(3), 0, 1)),
    ],
)
def test_azimuth_zero_is_on_x_and_positive_toward_y(elevation, azimuth, place):
    torch.testing.assert_close(
        one(elevation, azimuth).position[0], torch.tensor(place, dtype=torch.float32), atol=1e-5, rtol=0
    )


def test_camera_axes_are_opengl():
    c2w = one(0.0, 0.0).c2w[0]
    torch.testing.assert_close(c2w[:3, 0], torch.tensor([0.0, 1.0, 0.0]))  # right: the object's left side
    torch.testing.assert_close(c2w[:3, 1], torch.tensor([0.0, 0.0, 1.0]))  # up
    torch.testing.assert_close(c2w[:3, 2], torch.tensor([1.0, 0.0, 0.0]))  # backward
    assert torch.linalg.det(c2w[:3, :3]) == pytest.approx(1.0, abs=1e-6)


def test_rays_through_a_known_pixel():
    camera = one(0.0, 0.0, fov=90.0)
    origin, rays = camera.rays(2, 2)
    torch.testing.assert_close(origin[0], torch.tensor([2.0, 0.0, 0.0]))
    # Pixel (0, 0) is the upper left: half way to the edge in y and z, looking along -x.
    expected = torch.tensor([-1.0, -0.5, 0.5]) / math.sqrt(1.5)
    torch.testing.assert_close(rays[0, 0, 0], expected)
    torch.testing.assert_close(rays.norm(dim=-1), torch.ones(1, 2, 2))


def test_wide_pictures_keep_square_pixels():
    _, rays = one(0.0, 0.0, fov=60.0).rays(4, 8)
    slopes = rays[0] / -rays[0][..., :1]
    step_x = (slopes[0, 1] - slopes[0, 0]).norm()
    step_y = (slopes[1, 0] - slopes[0, 0]).norm()
    assert float(step_x) == pytest.approx(float(step_y), rel=1e-5)


def test_straight_down_is_finite_and_upright():
    camera = one(90.0, 0.0)
    assert torch.isfinite(camera.c2w).all()
    assert camera.c2w[0, 0, 1] < -0.99  # up in the picture is away from the camera's azimuth


def test_direction_and_orbit_agree():
    elevation, azimuth = torch.tensor([20.0, -5.0]), torch.tensor([33.0, 250.0])
    cameras = orbit(elevation, azimuth, torch.tensor([2.0, 3.0]), torch.tensor([40.0, 40.0]))
    torch.testing.assert_close(cameras.position, direction(elevation, azimuth) * torch.tensor([[2.0], [3.0]]))


def test_fov_for_size_frames_the_ball():
    distance, fill = torch.tensor([3.0]), torch.tensor([0.8])
    half = torch.tan(torch.deg2rad(fov_for_size(0.8, distance, fill)) / 2)
    assert float(torch.tan(torch.asin(torch.tensor(0.8 / 3.0))) / half) == pytest.approx(0.8, rel=1e-5)


def test_look_at_looks_at():
    position, target = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.1, 0.2, -0.3]])
    c2w = look_at(position, target, torch.tensor([[0.0, 0.0, 1.0]]))
    ahead = torch.nn.functional.normalize(target - position, dim=-1)
    torch.testing.assert_close(-c2w[:, :3, 2], ahead)
