"""Compiled passes over a mesh's connections find what the plain ones find, in whatever order."""

import pytest
import torch

from scorelift.core.cameras import orbit
from scorelift.kernels import silhouettes, topology_cpu
from scorelift.kernels.marching_tetrahedra import crossings, crossings_reference, marching_tetrahedra
from scorelift.kernels.raster import project, rasterize
from scorelift.kernels.triangles import Edges, edges_reference
from scorelift.scenes.tetrahedra import tetrahedral_grid


def lumps(roughness, seed=0, resolution=14):
    """Places of a lattice, distances there to a lumpy ball, and the tetrahedra."""
    vertices, tetrahedra = tetrahedral_grid(resolution)
    noise = torch.randn(len(vertices), generator=torch.Generator().manual_seed(seed))
    return vertices, vertices.norm(dim=-1) - 0.6 + roughness * noise, tetrahedra


def triangles(ends, faces, vertices):
    """Faces as triples of crossed edges, each from its least corner on, sorted."""
    key = ends.amin(0) * vertices + ends.amax(0)
    assert len(set(key.tolist())) == len(key)
    turned = [min(face[k:] + face[:k] for k in range(3)) for face in key[faces].tolist()]
    return sorted(turned)


@pytest.mark.parametrize("roughness", [0.0, 0.1, 1.0])
def test_the_crossed_edges_and_the_faces_between(roughness):
    _, values, tetrahedra = lumps(roughness)
    compiled, plain = (find(values < 0, tetrahedra) for find in (crossings, crossings_reference))
    assert len(compiled[1]) > 500
    assert triangles(*compiled, len(values)) == triangles(*plain, len(values))
    assert all(map(torch.equal, compiled, crossings(values < 0, tetrahedra)))


@pytest.mark.parametrize("inside", [False, True])
def test_where_nothing_crosses(inside):
    _, _, tetrahedra = lumps(0.0, resolution=4)
    ends, faces = crossings(torch.full((int(tetrahedra.max()) + 1,), inside), tetrahedra)
    assert ends.shape == (2, 0)
    assert faces.shape == (0, 3)


def described(edges):
    """Each edge with the faces beside it."""
    rows = torch.cat([edges.ends.sort(1).values, edges.faces.sort(1).values], 1)
    return sorted(map(tuple, rows.tolist()))


def test_edges():
    _, faces = marching_tetrahedra(*lumps(0.3))
    whole, part = faces, faces[::3]
    for some in (whole, part, faces[:0]):
        assert described(Edges(*topology_cpu.edges(some))) == described(edges_reference(some))
    three = torch.tensor([[0, 1, 2], [1, 0, 3], [0, 1, 4]])
    shared = [row for row in described(Edges(*topology_cpu.edges(three))) if row[:2] == (0, 1)]
    assert shared == [(0, 1, 0, 1)]


@pytest.mark.parametrize("roughness", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("size", [24, 65])
def test_silhouettes(roughness, size):
    points, faces = marching_tetrahedra(*lumps(roughness))
    cameras = orbit(*(torch.tensor(x) for x in ([15.0, 60, -40], [0.0, 100, 250], [3.0, 1.2, 0.5], [40.0, 60, 80])))
    screen = project(points, cameras, size)
    seen = rasterize(screen, faces, size)
    found = [
        {
            (inside, outside): (view, *sorted(ends), down)
            for inside, outside, view, ends, down in zip(*(c.tolist() for c in vars(cut).values()), strict=True)
        }
        for cut in (
            silhouettes.crossings(screen, faces, seen, size),
            silhouettes.crossings_reference(screen, faces, seen, size),
        )
    ]
    assert len(found[0]) > 50
    assert found[0] == found[1]
    one = silhouettes.crossings(screen, faces, seen, size)
    assert len(one.inside) == len(found[0])  # one between two pixels
