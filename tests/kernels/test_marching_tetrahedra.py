import math

import pytest
import torch
import trimesh

from scorelift.kernels.marching_tetrahedra import marching_tetrahedra
from scorelift.scenes.tetrahedra import boundary_vertices, tetrahedral_grid

CORNERS = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
ALONE = torch.tensor([[0, 1, 2, 3]])


def solid(vertices, values, tetrahedra):
    points, faces = marching_tetrahedra(vertices, values, tetrahedra)
    return trimesh.Trimesh(points.detach().numpy(), faces.numpy(), process=False)


def ball(xyz, radius=0.6):
    return xyz.norm(dim=-1) - radius


def ring(xyz, radius=0.55, thickness=0.22):
    return torch.hypot(torch.hypot(xyz[:, 0], xyz[:, 1]) - radius, xyz[:, 2]) - thickness


@pytest.mark.parametrize("case", range(16))
def test_every_pattern_of_signs_by_hand(case):
    values = torch.tensor([-1.0 if case >> corner & 1 else 3.0 for corner in range(4)])
    points, faces = marching_tetrahedra(CORNERS, values, ALONE)
    inside = values < 0
    count = int(inside.sum())
    assert (len(points), len(faces)) == {0: (0, 0), 1: (3, 1), 2: (4, 2), 3: (3, 1), 4: (0, 0)}[count]
    if count % 4 == 0:
        return
    # A quarter of the way from the inner to the outer corner of each edge crossed.
    expected = [0.75 * a + 0.25 * b for a in CORNERS[inside] for b in CORNERS[~inside]]
    gap = (points[:, None] - torch.stack(expected)).norm(dim=-1)
    assert sorted(gap.argmin(1).tolist()) == list(range(len(points)))
    assert float(gap.amin(1).max()) < 1e-6
    a, b, c = points[faces].unbind(1)
    outward = CORNERS[~inside].mean(0) - CORNERS[inside].mean(0)
    assert bool((torch.linalg.cross(b - a, c - a) @ outward > 0).all())


def test_a_sphere_has_its_area_and_volume():
    vertices, tetrahedra = tetrahedral_grid(32)
    mesh = solid(vertices, ball(vertices), tetrahedra)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.area == pytest.approx(4 * math.pi * 0.6**2, rel=0.01)
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * 0.6**3, rel=0.01)  # positive: faces look outward
    assert mesh.euler_number == 2
    assert len(torch.unique(torch.from_numpy(mesh.faces))) == len(mesh.vertices)  # no point twice, none unused


def test_a_torus_has_one_hole():
    vertices, tetrahedra = tetrahedral_grid(24)
    mesh = solid(vertices, ring(vertices), tetrahedra)
    assert mesh.is_watertight
    assert mesh.euler_number == 0
    assert mesh.volume == pytest.approx(2 * math.pi**2 * 0.55 * 0.22**2, rel=0.03)


@pytest.mark.parametrize("seed", range(5))
def test_watertight_whatever_the_values(seed):
    vertices, tetrahedra = tetrahedral_grid(8)
    values = torch.randn(len(vertices), generator=torch.Generator().manual_seed(seed))
    values = torch.where(boundary_vertices(8), values.abs(), values)
    mesh = solid(vertices, values, tetrahedra)
    assert len(mesh.faces) > 1000
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.volume > 0


def test_gradients_of_vertices_and_values(generator):
    vertices, tetrahedra = tetrahedral_grid(4)
    vertices = vertices.double() + 0.05 * torch.randn(vertices.shape, generator=generator, dtype=torch.float64)
    values = ball(vertices) + 0.1 * torch.randn(len(vertices), generator=generator, dtype=torch.float64)
    assert float(values.abs().min()) > 1e-4  # so that no difference changes a sign
    assert len(marching_tetrahedra(vertices, values, tetrahedra)[1]) > 50
    vertices.requires_grad_()
    values.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, d: marching_tetrahedra(x, d, tetrahedra)[0], (vertices, values))


def test_the_surface_moves_with_the_distance():
    """An offset that grows all distances by one shrinks a ball's volume by its area."""
    vertices, tetrahedra = tetrahedral_grid(24)
    grown = torch.zeros((), dtype=torch.float64, requires_grad=True)
    points, faces = marching_tetrahedra(vertices.double(), ball(vertices.double()) + grown, tetrahedra)
    a, b, c = points[faces].unbind(1)
    (rate,) = torch.autograd.grad((a * torch.linalg.cross(b, c)).sum() / 6, grown)
    assert float(rate) == pytest.approx(-4 * math.pi * 0.6**2, rel=0.01)


@pytest.mark.parametrize("value", [1.0, 0.0, -1.0])
def test_without_a_crossing_there_is_nothing(value):
    vertices, tetrahedra = tetrahedral_grid(4)
    values = torch.full((len(vertices),), value, requires_grad=True)
    points, faces = marching_tetrahedra(vertices, values, tetrahedra)
    assert points.shape == (0, 3)
    assert faces.shape == (0, 3)
    points.sum().backward()
    assert float(values.grad.abs().max()) == 0
    points, faces = marching_tetrahedra(vertices, values, tetrahedra[:0])
    assert points.shape == faces.shape == (0, 3)


@pytest.mark.parametrize("least", [0.0, 1e-40, 1e-30])
def test_values_of_zero_are_outside(least, generator):
    vertices, tetrahedra = tetrahedral_grid(6)
    values = torch.randint(-1, 2, (len(vertices),), generator=generator).float()
    values = torch.where(values < 0, -max(least, 1e-40), values)
    values = torch.where(boundary_vertices(6), values.abs(), values).requires_grad_()
    vertices = vertices.clone().requires_grad_()
    points, faces = marching_tetrahedra(vertices, values, tetrahedra)
    assert trimesh.Trimesh(points.detach().numpy(), faces.numpy(), process=False).is_watertight
    assert bool(points.isfinite().all())
    points.square().sum().backward()
    assert bool(values.grad.isfinite().all())
    assert bool(vertices.grad.isfinite().all())


@pytest.mark.gpu
def test_the_same_on_a_gpu():
    vertices, tetrahedra = tetrahedral_grid(16)
    points, faces = marching_tetrahedra(vertices, ball(vertices), tetrahedra)
    others, same = marching_tetrahedra(vertices.cuda(), ball(vertices).cuda(), tetrahedra.cuda())
    torch.testing.assert_close(others.cpu(), points)
    torch.testing.assert_close(same.cpu(), faces)
