"""Gaussians before a camera, against rays, sampled points and light that must not be lost."""

import torch
from scipy.spatial.transform import Rotation

from scorelift.core.camera_samplers import ring
from scorelift.core.cameras import orbit
from scorelift.kernels.splats import Splats, splat_tiled
from scorelift.scenes.projection import WIDE, project, quaternion_matrix


def test_quaternions_against_scipy(generator):
    q = torch.randn(8, 4, generator=generator, dtype=torch.float64)
    expected = torch.from_numpy(Rotation.from_quat(q.roll(-1, 1).numpy()).as_matrix())
    torch.testing.assert_close(quaternion_matrix(q), expected)
    torch.testing.assert_close(quaternion_matrix(3 * q), expected)


def test_a_centre_on_a_pixels_ray_falls_on_that_pixel():
    cameras, size = ring(5, 25.0), 16
    origin, direction = cameras.rays(size, size)
    for row, column in ((3, 5), (12, 9), (8, 8)):
        place = origin[2] + 2.9 * direction[2, row, column]
        mean, _, _, depth = project(place[None], 0.01 * torch.eye(3)[None], cameras[2:3], size)
        torch.testing.assert_close(mean[0, 0], torch.tensor([column + 0.5, row + 0.5]), rtol=1e-4, atol=1e-4)
        assert 2.5 < depth < 2.9 + 1e-4


def test_what_is_behind_has_no_depth():
    cameras = ring(1, 0.0)
    behind = 1.5 * cameras.position
    assert project(behind, torch.eye(3)[None], cameras, 8)[3] < 0


def test_spread_is_that_of_projected_points(generator):
    camera = orbit(*(torch.tensor([v]) for v in (20.0, 130.0, 3.0, 40.0)))
    root = torch.tensor([[0.05, 0.0, 0.0], [0.02, 0.03, 0.0], [-0.01, 0.02, 0.04]])
    place = torch.tensor([0.3, -0.2, 0.4])
    mean, conic, dim, _ = project(place[None], root[None], camera, 64)
    points = place + torch.randn(200_000, 3, generator=generator) @ root.T
    at = (points - camera.position) @ camera.c2w[0, :3, :3]
    focal = 32 / torch.tan(torch.deg2rad(torch.tensor(20.0)))
    pixels = 32 + focal * torch.stack([at[:, 0], -at[:, 1]], -1) / -at[:, 2:]
    torch.testing.assert_close(pixels.mean(0), mean[0, 0], rtol=0, atol=0.05)
    spread = torch.cov(pixels.T)
    a, b, c = conic[0, 0]
    found = torch.tensor([[a, b], [b, c]]).inverse()
    torch.testing.assert_close(found, spread + WIDE * torch.eye(2), rtol=0.02, atol=0.02)
    torch.testing.assert_close(dim[0, 0], (spread.det() / found.det()).sqrt(), rtol=0.02, atol=0)


def test_small_pictures_show_as_much_light_as_large_ones():
    """The mean opacity of the picture, of Gaussians smaller than a pixel, or not."""
    camera = orbit(*(torch.tensor([v]) for v in (0.0, 0.0, 3.0, 40.0)))
    for scale in (0.02, 0.1):
        shares = []
        for size in (32, 64, 256):
            mean, conic, dim, depth = project(torch.full((1, 3), 0.05), scale * torch.eye(3)[None], camera, size)
            shares.append(splat_tiled(Splats(mean, conic, 0.9 * dim, torch.ones(1, 1, 1), depth), size)[:, -1].mean())
        torch.testing.assert_close(shares[0], shares[2], rtol=0.1, atol=0)
        torch.testing.assert_close(shares[1], shares[2], rtol=0.05, atol=0)
