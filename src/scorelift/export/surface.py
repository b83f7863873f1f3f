"""The surface of a scene as a clean triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import fast_simplification
import numpy as np
import trimesh
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from ..core.errors import bad
from ..scenes import Field, Mesh, Model, Solid, Volume
from ..scenes.level import density_grid, empty_surface, surface_density
from ..scenes.mesh import empty_mesh


@dataclass(frozen=True)
class Surface:
    """A triangle mesh in scorelift's axes (front +x, left +y, up +z), counter-clockwise seen from outside."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]

    @property
    def normals(self) -> Float[np.ndarray, "v 3"]:
        """Unit vertex normals, weighted by angle."""
        mesh = trimesh.Trimesh(self.vertices, self.faces, process=False)
        return np.asarray(mesh.vertex_normals, np.float32)


def extract_surface(
    scene: Solid, *, resolution: int, faces: int, keep: float = 0.02, blur: float = 1.2, distance: float = 3.0,
    fov_deg: float | None = None, density: float | None = None,
) -> Surface:  # fmt: skip
    """The surface of a volume at its visible or a given density, or of a mesh; without specks, smoothed, simplified.

    A mesh that a user brought stays as it is.

    Args:
        resolution: of the grid a volume's surface is extracted on.
        faces: about so many triangles at most.
        keep: pieces of less than this fraction of the largest piece's volume are dropped.
        blur: of a volume's log density, in cells of a grid of 112.
        distance: of the cameras that decide which density is a volume's surface.
        fov_deg: their field of view; None: one that holds the object.
        density: where a volume's surface is; None: where half of the light is stopped.

    Raises:
        EmptySceneError: if there is no surface.
        ScoreliftError: if a volume has no place of the density that is given.
    """
    if isinstance(scene, Model):  # the user's own, as it is
        return Surface(scene.points.cpu().numpy(), scene.faces.cpu().numpy().astype(np.int32))
    if isinstance(scene, Mesh):
        points, triangles = (t.detach().cpu().numpy() for t in scene.surface())
        mesh = trimesh.Trimesh(points, triangles, process=True)
    else:
        assert isinstance(scene, Volume)
        level = density or surface_density(scene.field, distance=distance, fov_deg=fov_deg)
        grid = density_grid(scene.field, resolution)
        if density and grid.max() <= density:
            raise bad("finish.density", expected=f"a density that there is, below {grid.max():.3g}", got=density)
        mesh = _volume_surface(scene.field, grid, blur, level)
    mesh = _largest_pieces(mesh, keep)
    if len(mesh.faces) < 4:
        raise empty_surface(scene.field) if isinstance(scene, Volume) else empty_mesh()
    if not isinstance(scene, Mesh):
        trimesh.smoothing.filter_taubin(mesh, lamb=0.5, nu=0.53, iterations=8)
    points, triangles = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32)
    if len(triangles) > faces:
        points, triangles = fast_simplification.simplify(points, triangles, target_count=faces)
    return _tidy(points, triangles)


def _volume_surface(field: Field, grid: Float[np.ndarray, "n n n"], blur: float, level: float) -> trimesh.Trimesh:
    """Marching cubes at a density of a field's grid."""
    resolution, grid = len(grid), np.pad(grid, 1)
    # The logarithm is nearer to linear across the surface; kept within bounds that are alike on both sides, so that
    # blurring, which closes pinholes and levels bumps, does not move a flat surface.
    log = gaussian_filter(np.clip(np.log(np.maximum(grid, 1e-12) / level), -2, 2), blur * resolution / 112)
    if log.max() <= 0:
        raise empty_surface(field)
    vertices, triangles, _, _ = marching_cubes(log, 0.0, gradient_direction="ascent")
    vertices = ((vertices - 1) * (2 / (resolution - 1)) - 1) * field.extent
    return trimesh.Trimesh(vertices, triangles, process=True)


def _largest_pieces(mesh: trimesh.Trimesh, keep: float) -> trimesh.Trimesh:
    pieces = trimesh.graph.connected_components(mesh.face_adjacency, nodes=np.arange(len(mesh.faces)))
    if len(pieces) < 2:
        return mesh
    triangles = mesh.triangles
    volume = np.einsum("fi,fi->f", triangles[:, 0], np.cross(triangles[:, 1], triangles[:, 2])) / 6
    sizes = np.array([abs(volume[piece].sum()) for piece in pieces])
    chosen = np.concatenate([piece for piece, size in zip(pieces, sizes, strict=True) if size >= keep * sizes.max()])
    return cast(trimesh.Trimesh, mesh.submesh([chosen], append=True))


def _tidy(points: np.ndarray, triangles: np.ndarray) -> Surface:
    mesh = trimesh.Trimesh(points, triangles, process=True)
    mesh.update_faces(mesh.nondegenerate_faces() & mesh.unique_faces())
    mesh.remove_unreferenced_vertices()
    if mesh.volume < 0:
        mesh.invert()
    return Surface(np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32))
