import math

import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.core.memory import free_bytes
from scorelift.scenes import tetrahedra as module
from scorelift.scenes.tetrahedra import boundary_vertices, grid_bytes, grid_edges, tetrahedral_grid

RESOLUTIONS = (4, 7)
SIDES = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def triangles_of(tetrahedra):
    triples = tetrahedra[:, [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]]].reshape(-1, 3)
    return torch.unique(triples.sort(-1).values, dim=0, return_counts=True)


@pytest.mark.parametrize("n", RESOLUTIONS)
def test_all_tetrahedra_are_alike(n):
    vertices, tetrahedra = tetrahedral_grid(n)
    assert float(vertices.min()) == -1
    assert float(vertices.max()) == 1
    assert len(tetrahedra) == 12 * n * n * (n - 1)
    a, b, c, d = vertices.double()[tetrahedra].unbind(1)
    volume = ((b - a) * torch.linalg.cross(c - a, d - a)).sum(-1) / 6
    edge = 2 / n
    torch.testing.assert_close(volume, torch.full_like(volume, edge**3 / 12), rtol=1e-5, atol=0)  # positive, too
    assert float(volume.sum()) == pytest.approx(8 * (1 - 1 / n))
    corner = vertices.double()[tetrahedra]
    lengths = torch.stack([(corner[:, i] - corner[:, j]).norm(dim=-1) for i, j in SIDES], -1).sort(-1).values
    expected = edge * torch.tensor([math.sqrt(0.75)] * 4 + [1.0] * 2, dtype=torch.float64)
    torch.testing.assert_close(lengths, expected.expand_as(lengths), rtol=1e-5, atol=0)


@pytest.mark.parametrize("n", RESOLUTIONS)
def test_triangles_are_shared_by_two_except_on_the_boundary(n):
    vertices, tetrahedra = tetrahedral_grid(n)
    triangles, count = triangles_of(tetrahedra)
    assert set(count.tolist()) == {1, 2}
    on = torch.zeros(len(vertices), dtype=torch.bool)
    on[triangles[count == 1].reshape(-1)] = True
    assert bool((boundary_vertices(n) == on).all())
    assert bool((vertices[on].abs().amax(-1) > 1 - 1.01 / n).all())  # within half a cube of the box's


@pytest.mark.parametrize("n", RESOLUTIONS)
def test_vertices_are_distinct_and_used(n):
    vertices, tetrahedra = tetrahedral_grid(n)
    assert len(vertices) == (n + 1) ** 3 - 8 + n**3
    assert len(torch.unique(vertices, dim=0)) == len(vertices)
    assert torch.unique(tetrahedra).tolist() == list(range(len(vertices)))


@pytest.mark.parametrize("n", RESOLUTIONS)
def test_edges_are_those_of_the_tetrahedra(n):
    _, tetrahedra = tetrahedral_grid(n)
    expected = torch.unique(tetrahedra[:, SIDES].reshape(-1, 2).sort(-1).values, dim=0)
    edges = torch.unique(grid_edges(n).sort(-1).values, dim=0)
    assert torch.equal(edges, expected)
    assert len(grid_edges(n)) == len(edges)


def test_the_size_is_told_beforehand():
    grid = tetrahedral_grid(9)
    assert sum(tensor.nbytes for tensor in grid) == grid_bytes(9)
    assert all(same is tensor for same, tensor in zip(tetrahedral_grid(9), grid, strict=True))  # made once


def test_resolutions_that_make_no_grid():
    with pytest.raises(ScoreliftError, match=r"resolution: expected a whole number of cubes, at least 4, got 3\."):
        tetrahedral_grid(3)


def test_a_grid_larger_than_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda: 50_000_000)
    with pytest.raises(ScoreliftError, match=r"fits in the 0\.1 GB of free memory, got 96\. It needs 0\.4 GB; choose"):
        tetrahedral_grid(96)
    tetrahedral_grid(4)
    monkeypatch.setattr(module, "free_bytes", lambda: None)
    tetrahedral_grid(4)


def test_the_size_named_instead_fits(monkeypatch):
    monkeypatch.setattr(module, "free_bytes", lambda: 50_000_000)
    with pytest.raises(ScoreliftError) as error:
        tetrahedral_grid(96)
    tetrahedral_grid(int(str(error.value).split()[-1].rstrip(".")))


def test_this_machine_tells_its_memory_or_nothing():
    free = free_bytes()
    assert free is None or free > 10_000_000
