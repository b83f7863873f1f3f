"""Rasterization: against analytic coverage, rays, finite differences; the compiled form against the plain one."""

import math

import pytest
import torch
import trimesh

from scorelift.core.cameras import orbit
from scorelift.kernels import raster_nvdiffrast
from scorelift.kernels.raster import project, rasterize, visible, visible_reference
from scorelift.kernels.silhouettes import antialias
from scorelift.kernels.triangles import edges_of


def camera(n=1, dtype=torch.float32):
    def full(x):
        return torch.full((n,), x, dtype=dtype)

    return orbit(full(20.0), torch.linspace(0, 300, n, dtype=dtype), full(3.0), full(40.0))


def ball(radius=1.0, levels=3, dtype=torch.float64):
    mesh = trimesh.creation.icosphere(levels, radius)
    return torch.tensor(mesh.vertices, dtype=dtype), torch.tensor(mesh.faces)


def softly(points, faces, size, cameras, colours=None):
    """Antialiased pictures of a mesh: its coverage, or colours of its vertices."""
    screen = project(points, cameras, size)
    fragments = rasterize(screen, faces, size)
    values = points.new_ones(len(fragments.pixel), 1) if colours is None else fragments.interpolate(colours, faces)
    image = points.new_zeros(len(cameras) * size * size, values.shape[1]).index_copy(0, fragments.pixel, values)
    image = image.view(len(cameras), size, size, -1).permute(0, 3, 1, 2)
    return antialias(image, screen, faces, fragments)


def disc(radius, size):
    """Area in pixels of the silhouette of a centred ball, 3 away, in a view of 40 degrees."""
    return math.pi * (size / 2 / math.tan(math.radians(20)) * math.tan(math.asin(radius / 3))) ** 2


def test_a_point_is_projected_to_the_pixel_whose_ray_meets_it():
    cameras = camera(3, torch.float64)
    origin, direction = cameras.rays(16, 16)
    points = origin[1] + 2.5 * direction[1, 4, 11]
    screen = project(points[None], cameras, 16)
    assert torch.allclose(screen[1, 0, :2], torch.tensor([11.5, 4.5], dtype=torch.float64))
    assert 2.3 < float(screen[1, 0, 2]) < 2.5


@pytest.mark.parametrize("size", [16, 61])
def test_compiled_equals_plain(size):
    points, faces = ball(0.8, dtype=torch.float32)
    screen = project(points, camera(4), size)
    compiled, plain = (
        visible(screen, faces, size).long(),
        torch.stack([visible_reference(v, faces, size) for v in screen]),
    )
    assert torch.equal(compiled < 0, plain < 0)
    # Centres on an edge two triangles share may go to either.
    assert float((compiled != plain).float().mean()) < 1e-3


def test_what_is_nearer_hides_what_is_behind_and_nothing_behind_the_camera_is_drawn():
    screen = torch.tensor(
        [[0, 0, 2], [8, 0, 2], [0, 8, 2], [0, 0, 1], [3, 0, 1], [0, 3, 1], [0, 0, -1]], dtype=torch.float32
    )
    seen = visible_reference(screen, torch.tensor([[0, 1, 2], [3, 4, 5], [6, 1, 2]]), 8)
    assert (int(seen[0, 0]), int(seen[3, 3]), int(seen[7, 7])) == (1, 0, -1)
    assert set(seen.unique().tolist()) == {-1, 0, 1}


def test_interpolation_is_perspective_correct():
    points, faces = ball(0.7)
    cameras = camera(2, torch.float64)
    fragments = rasterize(project(points, cameras, 24), faces, 24)
    places = fragments.interpolate(points, faces)
    origin, direction = cameras.rays(24, 24)
    view = fragments.pixel // 24**2
    ray = direction.reshape(-1, 3)[fragments.pixel]
    off = torch.linalg.cross(places - origin[view], ray).norm(dim=-1)
    assert float(off.max()) < 1e-6
    assert torch.allclose(fragments.weights.sum(-1), torch.ones(len(view), dtype=torch.float64))


def test_shared_edges_leave_no_gaps_and_every_edge_is_listed_once():
    points, faces = ball(0.9, levels=2)
    seen = visible(project(points, camera(1, torch.float64), 40), faces, 40)[0] >= 0
    for row in seen:  # a ball's rows are covered without holes
        covered = torch.nonzero(row)[:, 0]
        assert not len(covered) or len(covered) == covered[-1] - covered[0] + 1
    edges = edges_of(faces)
    assert len(edges.ends) == len(faces) * 3 // 2
    assert (edges.faces >= 0).all()
    assert len(edges_of(faces[:1]).ends) == 3
    assert (edges_of(faces[:1]).faces[:, 1] == -1).all()


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("radius", [0.5, 0.557, 0.613])
def test_coverage_and_its_gradient_are_the_discs(size, radius):
    points, faces = ball(levels=4)
    scale = torch.tensor(radius, dtype=torch.float64, requires_grad=True)
    area = softly(points * scale, faces, size, camera(1, torch.float64)).sum()
    (gradient,) = torch.autograd.grad(area, scale)
    slope = (disc(radius + 1e-4, size) - disc(radius - 1e-4, size)) / 2e-4
    assert float(area.detach()) == pytest.approx(disc(radius, size), rel=0.004)
    assert float(gradient) == pytest.approx(slope, rel=0.08 if size == 32 else 0.03)


def test_gradients_are_those_of_finite_differences():
    points, faces = ball(0.6, levels=1)
    colours = torch.rand(len(points), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight = torch.rand(1, 3, 12, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def value(points, colours):
        return (softly(points, faces, 12, camera(1, torch.float64), colours) * weight).sum()

    points.requires_grad_()
    colours.requires_grad_()
    assert torch.autograd.gradcheck(value, (points, colours), eps=1e-7, atol=1e-4, rtol=1e-3)


def test_inner_edges_are_left_alone():
    points, faces = ball(0.9, levels=3)
    cameras = camera(1, torch.float64)
    colours = points.clone()
    screen = project(points, cameras, 48)
    fragments = rasterize(screen, faces, 48)
    image = points.new_zeros(48 * 48, 3).index_copy(0, fragments.pixel, fragments.interpolate(colours, faces))
    image = image.view(1, 48, 48, 3).permute(0, 3, 1, 2)
    changed = (softly(points, faces, 48, cameras, colours) - image).abs().sum(1)[0] > 0
    covered = torch.zeros(48 * 48, dtype=torch.bool).index_fill(0, fragments.pixel, True).view(48, 48)
    interior = -torch.nn.functional.max_pool2d(-covered[None].double(), 5, 1, 2)[0] > 0
    assert changed.any()
    assert not (changed & interior).any()


def test_a_nearer_silhouette_is_soft_before_what_lies_behind():
    front, faces = ball(0.3, levels=3)
    wall = torch.tensor([[-1.0, -3, -3], [-1, 3, -3], [-1, 3, 3], [-1, -3, 3]], dtype=torch.float64)
    cameras = orbit(*(torch.tensor([x], dtype=torch.float64) for x in (0.0, 0.0, 3.0, 40.0)))
    points = torch.cat([front, wall])
    both = torch.cat([faces, torch.tensor([[0, 1, 2], [0, 2, 3]]) + len(front)])
    colours = torch.cat([torch.ones(len(front), 1), torch.zeros(4, 1)]).double()
    assert float(softly(points, both, 64, cameras, colours).sum()) == pytest.approx(disc(0.3, 64), rel=0.01)


def test_rough_silhouettes_keep_pictures_within_bounds(generator):
    """Folds of a rough surface put several silhouettes between two pixels, and cut one pixel from several sides."""
    points, faces = ball(0.8, levels=4)
    points = points * (1 + 0.06 * torch.randn(len(points), 1, generator=generator, dtype=torch.float64))
    coverage = softly(points, faces, 40, camera(4, torch.float64))
    assert -1e-9 <= float(coverage.min()) <= float(coverage.max()) <= 1 + 1e-9


def test_nothing_in_view_is_an_empty_picture_with_zero_gradients():
    points, faces = ball(0.1, levels=1)
    points = (points + torch.tensor([0.0, 50.0, 0.0])).requires_grad_()
    image = softly(points, faces, 8, camera(2, torch.float64))
    assert not image.any()
    image.sum().backward()
    assert points.grad is None or not points.grad.any()


class Library:
    """nvdiffrast's interface as documented: clip coordinates, rows from y = -1 on, triangles counted from 1."""

    RasterizeCudaContext = staticmethod(lambda device: "context")

    @staticmethod
    def rasterize(context, pos, tri, resolution, grad_db):
        assert (context, grad_db, tri.dtype, pos.dtype) == ("context", False, torch.int32, torch.float32)
        height, width = resolution
        corners = pos[0, tri.long()].double()
        place, depth = corners[..., :2] / corners[..., 3:], corners[..., 2] / corners[..., 3]
        rows, columns = ((torch.arange(count) + 0.5) / count * 2 - 1 for count in resolution)
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        a, b, c = (place[:, k] - torch.stack([x, y], -1)[:, :, None].double() for k in range(3))
        weights = torch.stack([u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0] for u, v in ((b, c), (c, a), (a, b))], -1)
        area = weights.sum(-1, keepdim=True)
        weights = weights / torch.where(area == 0, torch.nan, area)
        inside = (weights >= -1e-6).all(-1) & (corners[..., 3] > 0).all(-1)
        z = torch.where(inside, (weights * depth).sum(-1), torch.inf)
        assert (z[inside].abs() <= 1).all()
        nearest, face = z.min(-1)
        out = torch.zeros(1, height, width, 4)
        out[0, ..., 3] = torch.where(nearest.isinf(), 0, face + 1)
        return out, None


def test_nvdiffrast_is_asked_in_its_own_terms(monkeypatch):
    monkeypatch.setattr(raster_nvdiffrast, "library", lambda: Library)
    points, faces = ball(0.8, levels=2, dtype=torch.float32)
    behind = torch.tensor([[5.0, 0, 0], [0.0, 0.5, 0], [0.0, -0.5, 0]])  # one corner is behind the first camera
    faces = torch.cat([faces, torch.tensor([[0, 1, 2]]) + len(points)])
    screen = project(torch.cat([points, behind]), camera(2), 33)
    seen = raster_nvdiffrast.visible_nvdiffrast(screen, faces, 33)
    plain = torch.stack([visible_reference(view, faces, 33) for view in screen])
    assert torch.equal(seen < 0, plain < 0)
    assert (seen == plain).float().mean() > 0.99  # but for centres on an edge
    assert not (seen[0] == len(faces) - 1).any()
