import math

import pytest
import torch
import trimesh

from scorelift.kernels.marching_tetrahedra import marching_tetrahedra
from scorelift.kernels.triangles import (
    areas_around,
    areas_around_reference,
    face_areas,
    face_pairs,
    vertex_normals,
)
from scorelift.scenes.tetrahedra import tetrahedral_grid


def sphere(subdivisions=3):
    mesh = trimesh.creation.icosphere(subdivisions)
    return torch.tensor(mesh.vertices, dtype=torch.float64), torch.tensor(mesh.faces)


def test_areas_of_a_sphere():
    areas = face_areas(*sphere(4))
    assert float(areas.norm(dim=-1).sum()) == pytest.approx(4 * math.pi, rel=0.01)
    torch.testing.assert_close(areas.sum(0), torch.zeros(3, dtype=torch.float64))  # as on any closed surface


def test_normals_of_a_sphere_look_outward():
    points, faces = sphere()
    normals = vertex_normals(points, faces)
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(len(points), dtype=torch.float64))
    assert float((normals * points).sum(-1).min()) > 0.999


def test_larger_faces_count_more():
    points = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1]])
    normals = vertex_normals(points, torch.tensor([[0, 1, 2], [0, 2, 3]]))  # areas 3/2 along z, 1/2 along x
    torch.testing.assert_close(normals[0], torch.tensor([1.0, 0, 3]) / math.sqrt(10))


def test_gradient_of_normals(generator):
    points, faces = sphere(1)
    points = (points + 0.1 * torch.randn(points.shape, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: vertex_normals(p, faces), (points,))


def test_compiled_areas_are_as_plain_ones(generator):
    points, faces = sphere(2)
    points = (points + 0.1 * torch.randn(points.shape, generator=generator, dtype=torch.float64)).float()
    pull = torch.randn(points.shape, generator=generator)
    found = []
    for around in (areas_around, areas_around_reference):
        mine = points.clone().requires_grad_()
        areas = around(mine, faces[:-5])
        areas.backward(pull)
        found.append((areas.detach(), mine.grad))
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-5)


def test_faces_without_area_have_finite_gradients():
    points = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [5, 5, 5]], requires_grad=True)
    normals = vertex_normals(points, torch.tensor([[0, 1, 2], [3, 4, 3]]))
    torch.testing.assert_close(normals.detach()[3:], torch.zeros(2, 3))
    normals.square().sum().backward()
    assert bool(points.grad.isfinite().all())


def test_marched_surfaces_have_normals_everywhere():
    """Also where the surface passes close by a vertex of the lattice, so that all triangles around a point are tiny."""
    vertices, tetrahedra = tetrahedral_grid(24)
    for shift in torch.linspace(0, 0.05, 6):
        xyz = vertices - shift * torch.tensor([1.0, 0.1, 0.7])
        points, faces = marching_tetrahedra(xyz, xyz.norm(dim=-1) - 0.6, tetrahedra)
        normals = vertex_normals(points, faces)
        assert float((normals * points).sum(-1).min()) > 0.9 * 0.6


def test_each_edge_of_a_closed_mesh_joins_two_faces():
    _, faces = sphere(2)
    pairs = face_pairs(faces)
    assert len(pairs) == 3 * len(faces) // 2
    for one, other in pairs.tolist():
        assert len(set(faces[one].tolist()) & set(faces[other].tolist())) == 2
    assert len({tuple(sorted(pair)) for pair in pairs.tolist()}) == len(pairs)


def test_open_and_empty_meshes_have_fewer_pairs():
    (pair,) = face_pairs(torch.tensor([[0, 1, 2], [2, 1, 3], [4, 5, 6]])).tolist()
    assert sorted(pair) == [0, 1]
    assert face_pairs(torch.zeros(0, 3, dtype=torch.long)).shape == (0, 2)
