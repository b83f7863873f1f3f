import math

import pytest
import torch
import trimesh
from torch.nn import functional as F

from scorelift.core.errors import EmptySceneError, ScoreliftError
from scorelift.kernels.marching_tetrahedra import marching_tetrahedra
from scorelift.scenes.distances import signed_distances
from scorelift.scenes.tetrahedra import boundary_vertices, tetrahedral_grid

LEVEL, RADIUS = 5.0, 0.6


def soft_ball(xyz):
    """Of density `LEVEL` at `RADIUS`, as steep as a voxel field's."""
    shift = math.log(math.exp(LEVEL / 30) - 1)
    return 30 * F.softplus(25 * (RADIUS - xyz.norm(dim=-1)) + shift)


def cube(xyz):
    return 100.0 * (xyz.abs().amax(-1) < 0.5)


def mesh_of(vertices, values, tetrahedra):
    points, faces = marching_tetrahedra(vertices, values, tetrahedra)
    return trimesh.Trimesh(points.numpy(), faces.numpy(), process=False)


def test_a_soft_ball_keeps_its_volume():
    vertices, tetrahedra = tetrahedral_grid(32)
    mesh = mesh_of(vertices, signed_distances(soft_ball, LEVEL, vertices, tetrahedra), tetrahedra)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * math.pi * RADIUS**3, rel=0.02)


@pytest.mark.parametrize(("radius", "pieces"), [(0.07, 1), (0.2, 2)])
def test_specks_are_left_out_and_parts_are_not(radius, pieces):
    vertices, tetrahedra = tetrahedral_grid(32)

    def two_balls(xyz):
        place = torch.tensor([0.8, 0.0, 0.0])
        return 10.0 * ((xyz.norm(dim=-1) < 0.45) | ((xyz - place).norm(dim=-1) < radius))

    def pieces_of(values):
        return mesh_of(vertices, values, tetrahedra).split(only_watertight=False)

    assert len(pieces_of(torch.where(two_balls(vertices) > 1, -1.0, 1.0))) == 2
    found = pieces_of(signed_distances(two_balls, 1.0, vertices, tetrahedra))
    assert len(found) == pieces
    assert max(float(piece.bounds[1, 0]) for piece in found) == pytest.approx(0.45 if pieces == 1 else 1.0, abs=0.04)


def test_values_are_distances():
    vertices, tetrahedra = tetrahedral_grid(32)
    true = vertices.norm(dim=-1) - RADIUS
    found = signed_distances(soft_ball, LEVEL, vertices, tetrahedra)
    near = (true.abs() < 4 / 32) & (true.abs() > 0.002)
    assert int(near.sum()) > 3000
    assert float((found / true - 1)[near].abs().max()) < 0.2
    assert float((found / true - 1)[true.abs() > 4 / 32].abs().max()) < 0.05
    assert float((found - true)[true.abs() < 4 / 32].abs().max()) < 0.005


def test_distances_from_flat_sides_edges_and_corners():
    vertices, tetrahedra = tetrahedral_grid(12)
    found = signed_distances(cube, 1.0, vertices, tetrahedra)
    sign = torch.where(cube(vertices) > 1, -1.0, 1.0)
    assert torch.equal(found.sign(), sign)
    mesh = mesh_of(vertices, sign, tetrahedra)  # where the density jumps, the surface is half way
    some = torch.arange(0, len(vertices), 17)
    expected = trimesh.proximity.closest_point_naive(mesh, vertices[some].numpy())[1]
    torch.testing.assert_close(found[some].abs(), torch.from_numpy(expected).float(), rtol=0.1, atol=1e-5)
    near = expected < 2 / 12
    assert int(near.sum()) > 30
    torch.testing.assert_close(found[some][near].abs(), torch.from_numpy(expected[near]).float(), rtol=1e-4, atol=1e-5)


def test_lengths_are_those_of_the_vertices():
    vertices, tetrahedra = tetrahedral_grid(12)
    one = signed_distances(soft_ball, LEVEL, vertices, tetrahedra)
    two = signed_distances(lambda xyz: soft_ball(xyz / 2), LEVEL, vertices * 2, tetrahedra)
    torch.testing.assert_close(two, 2 * one, rtol=1e-4, atol=1e-5)


def test_a_surface_that_leaves_the_grid_is_closed():
    vertices, tetrahedra = tetrahedral_grid(12)

    def column(xyz):
        return 100.0 * (xyz[:, :2].norm(dim=-1) < 0.5)

    assert not mesh_of(vertices, signed_distances(column, 1.0, vertices, tetrahedra), tetrahedra).is_watertight
    found = signed_distances(column, 1.0, vertices, tetrahedra, outside=boundary_vertices(12))
    assert bool((found[boundary_vertices(12)] > 0).all())
    assert mesh_of(vertices, found, tetrahedra).is_watertight


@pytest.mark.parametrize("density", [0.0, 100.0])
def test_a_scene_without_a_surface_is_an_error_that_helps(density):
    vertices, tetrahedra = tetrahedral_grid(4)
    with pytest.raises(EmptySceneError, match=r"no surface where its density is 5 \(it goes from .*--seed"):
        signed_distances(lambda xyz: torch.full_like(xyz[:, 0], density), LEVEL, vertices, tetrahedra)


def test_the_level_is_above_zero():
    with pytest.raises(ScoreliftError, match="level: expected a number above 0, got 0"):
        signed_distances(soft_ball, 0.0, *tetrahedral_grid(4))
