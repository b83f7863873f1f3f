import math

import pytest
import torch
import trimesh

from scorelift.kernels.marching_tetrahedra import marching_tetrahedra
from scorelift.scenes.mesh_losses import (
    laplacian_loss,
    laplacian_reference,
    normal_consistency_loss,
    normal_consistency_reference,
)
from scorelift.scenes.tetrahedra import tetrahedral_grid

PAIRS = ((laplacian_loss, laplacian_reference), (normal_consistency_loss, normal_consistency_reference))
LOSSES = [loss for pair in PAIRS for loss in pair]


def bumpy(generator, subdivisions=1):
    mesh = trimesh.creation.icosphere(subdivisions)
    points = torch.tensor(mesh.vertices, dtype=torch.float64)
    return points + 0.1 * torch.randn(points.shape, generator=generator, dtype=torch.float64), torch.tensor(mesh.faces)


def unevenness(points):
    radius = points.detach().norm(dim=-1)
    return float((radius / radius.mean()).std())


def test_umbrella_of_a_tetrahedron_by_hand():
    """The other three corners' mean is -1/3 of a corner."""
    points = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    faces = torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])
    assert float(laplacian_loss(points, faces)) == pytest.approx((4 / 3) ** 2 * 3)


def test_umbrellas_against_a_loop(generator):
    points, faces = bumpy(generator)
    mesh = trimesh.Trimesh(points.numpy(), faces.numpy(), process=False)
    total = 0.0
    for point, neighbours in zip(points, mesh.vertex_neighbors, strict=True):
        total += float((points[neighbours].mean(0) - point).square().sum())
    assert float(laplacian_loss(points, faces)) == pytest.approx(total / len(points))


@pytest.mark.parametrize("angle_deg", [0.0, 60.0, 90.0, 150.0])
def test_consistency_of_a_folded_sheet_by_hand(angle_deg):
    angle = math.radians(angle_deg)
    points = torch.tensor([[0.0, 0, 0], [0, 1, 0], [-1, 0, 0], [math.cos(angle), 0, math.sin(angle)]])
    loss = normal_consistency_loss(points, torch.tensor([[0, 1, 2], [1, 0, 3]]))
    assert float(loss) == pytest.approx(1 - math.cos(angle), abs=1e-6)


def test_consistency_against_a_loop(generator):
    points, faces = bumpy(generator)
    mesh = trimesh.Trimesh(points.numpy(), faces.numpy(), process=False)
    one, other = mesh.face_adjacency.T
    expected = (1 - (mesh.face_normals[one] * mesh.face_normals[other]).sum(-1)).mean()
    assert float(normal_consistency_loss(points, faces)) == pytest.approx(expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients(loss, generator):
    points, faces = bumpy(generator)
    assert torch.autograd.gradcheck(lambda p: loss(p, faces), (points.requires_grad_(),))


@pytest.mark.parametrize(("compiled", "plain"), PAIRS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiled_as_plain_on_a_rough_open_surface(compiled, plain, dtype):
    """With slivers, faces of no area, and points of no face."""
    vertices, tetrahedra = tetrahedral_grid(12)
    values = (vertices.norm(dim=-1) - 0.6 + 0.1 * (9 * vertices).sin().sum(-1)).to(dtype)
    points, faces = marching_tetrahedra(vertices.to(dtype), values.where(values.abs() > 0.02, 0.0), tetrahedra)
    points, faces = torch.cat([points, torch.ones(2, 3, dtype=dtype)]), faces[: len(faces) // 2]
    grads = []
    for loss in (compiled, plain):
        mine = points.clone().requires_grad_()
        value = 3 * loss(mine, faces)
        value.backward()
        assert float(value.detach()) > 0
        grads.append((value.detach(), mine.grad))
    torch.testing.assert_close(*grads, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("loss", LOSSES)
def test_descent_smooths(loss, generator):
    points, faces = bumpy(generator, subdivisions=2)
    points.requires_grad_()
    optimizer = torch.optim.Adam([points], lr=0.005)
    before = unevenness(points)
    for _ in range(60):
        optimizer.zero_grad()
        loss(points, faces).backward()
        optimizer.step()
    assert unevenness(points) < 0.6 * before


@pytest.mark.parametrize("loss", LOSSES)
def test_finite_where_faces_have_no_area(loss):
    vertices, tetrahedra = tetrahedral_grid(8)
    values = (vertices.abs().amax(-1) - 0.5).clamp_min(-1e-6).requires_grad_()  # 0 at vertices, whose faces are points
    points, faces = marching_tetrahedra(vertices, values, tetrahedra)
    value = loss(points, faces)
    value.backward()
    assert bool(value.isfinite())
    assert bool(values.grad.isfinite().all())


@pytest.mark.parametrize("loss", LOSSES)
def test_an_empty_mesh_has_no_loss(loss):
    points = torch.zeros(0, 3, requires_grad=True)
    value = loss(points, torch.zeros(0, 3, dtype=torch.long))
    value.backward()
    assert float(value.detach()) == 0
