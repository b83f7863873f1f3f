"""The surface of a volume scene as a clean triangle mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import fast_simplification
import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from scipy.ndimage import gaussian_filter
from skimage.measure import marching_cubes

from ..core.cameras import Cameras, fov_for_size, orbit
from ..core.errors import EmptySceneError
from ..kernels.composite import weights_packed
from ..scenes import Field, Volume

RADIUS = 0.8
LOWER = 0.05


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


def ring(views: int, elevation_deg: float = 15.0, fill: float = 0.85, start_deg: float = 0.0) -> Cameras:
    """Cameras evenly around the object at one elevation."""
    azimuth = start_deg + 360 / views * torch.arange(views)
    distance = torch.full((views,), 3.0)
    fov = fov_for_size(RADIUS, distance, torch.full((views,), fill))
    return orbit(torch.full((views,), elevation_deg), azimuth, distance, fov)


@torch.no_grad()
def surface_density(scene: Volume, views: int = 10, size: int = 48) -> float:
    """Density at which light is half stopped, seen from all around: the level of the visible surface.

    Slanting rays are stopped farther out, at lower densities, than rays that meet a soft surface head on, and thin
    parts at lower ones than thick parts: a level among the lower ones leaves no holes.

    Raises:
        EmptySceneError: if the scene is empty from everywhere.
    """
    found = []
    for elevation in (10.0, 50.0):
        cameras = ring(views // 2, elevation, start_deg=elevation)
        origin, direction = cameras.rays(size, size)
        rays = direction.reshape(-1, 3)
        half = torch.full_like(rays[:, 0], 0.5)
        march = scene.field.march(origin.repeat_interleave(size * size, 0), rays, half)
        density = march.lookup.density()
        _, transmittance = weights_packed(density, march.delta, march.ray, len(rays))
        after = transmittance * torch.exp(-density * march.delta)
        found.append(density[(transmittance > 0.5) & (after <= 0.5)])
    level = torch.cat(found)
    if len(level) < 8:
        raise empty_surface(scene.field)
    return float(level.quantile(LOWER))


@torch.no_grad()
def empty_surface(field: Field) -> EmptySceneError:
    """The error of a scene without a surface."""
    peak = float(density_grid(field, 32).max())
    return EmptySceneError(
        f"export: the scene is empty, nothing in it stops half of the light (highest density {peak:.3g}). "
        "Try another --seed, more --steps, or weaker emptiness and opacity penalties. The checkpoints are kept."
    )


@torch.no_grad()
def density_grid(field: Field, resolution: int) -> Float[np.ndarray, "n n n"]:
    """Densities on a cube of points that holds the field's ball."""
    axis = torch.linspace(-field.extent, field.extent, resolution)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    device = next(field.parameters()).device
    parts = [field.at(part.to(device)).density().cpu() for part in points.split(262_144)]
    return torch.cat(parts).view((resolution,) * 3).numpy()


def extract_surface(scene: Volume, *, resolution: int, faces: int, keep: float = 0.02, blur: float = 1.2) -> Surface:
    """Marching cubes at the visible surface's density; specks removed, smoothed, simplified.

    Args:
        blur: standard deviation of the blur of the log density, in 1/112 of the field's width.
        keep: pieces with less than this fraction of the largest piece's volume are dropped.

    Raises:
        EmptySceneError: if there is no surface.
    """
    level = surface_density(scene)
    grid = np.pad(density_grid(scene.field, resolution), 1)
    # The logarithm is nearer to linear across the surface; kept within bounds that are alike on both sides, so that
    # blurring, which closes pinholes and levels bumps, does not move a flat surface.
    log = gaussian_filter(np.clip(np.log(np.maximum(grid, 1e-12) / level), -2, 2), blur * resolution / 112)
    if log.max() <= 0:
        raise empty_surface(scene.field)
    vertices, triangles, _, _ = marching_cubes(log, 0.0, gradient_direction="ascent")
    vertices = ((vertices - 1) * (2 / (resolution - 1)) - 1) * scene.field.extent
    mesh = _largest_pieces(trimesh.Trimesh(vertices, triangles, process=True), keep)
    if len(mesh.faces) < 4:
        raise empty_surface(scene.field)
    trimesh.smoothing.filter_taubin(mesh, lamb=0.5, nu=0.53, iterations=8)
    points, triangles = np.asarray(mesh.vertices, np.float32), np.asarray(mesh.faces, np.int32)
    if len(triangles) > faces:
        points, triangles = fast_simplification.simplify(points, triangles, target_count=faces)
    return _tidy(points, triangles)


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
