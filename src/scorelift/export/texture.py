"""Unwrapping a surface and baking the field's albedo into a texture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
import xatlas
from jaxtyping import Float, Int, UInt8
from scipy import ndimage

from ..kernels.composite import sum_packed, weights_packed
from ..scenes import Field, Painted, Solid
from .surface import Surface
from .triangles import covered_cells

Colour = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Asset:
    """A surface with texture coordinates (origin at the lower left) and its albedo picture (row 0 at the top)."""

    vertices: Float[np.ndarray, "v 3"]
    normals: Float[np.ndarray, "v 3"]
    uv: Float[np.ndarray, "v 2"]
    faces: Int[np.ndarray, "f 3"]
    albedo: UInt8[np.ndarray, "h w 3"]
    scale: float = 1.0
    "Of a mesh that came from a file: a vertex lay there at scale * vertex + centre ..."
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0)
    "... in scorelift's axes."

    def placed(self) -> Asset:
        """The asset where it lay in its file."""
        vertices = (self.vertices * self.scale + np.asarray(self.centre)).astype(np.float32)
        return replace(self, vertices=vertices, scale=1.0, centre=(0.0, 0.0, 0.0))


def unwrap(surface: Surface) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut and flatten a surface: for each new vertex its old one (v,), new faces (f, 3), uv (v, 2) in [0, 1]."""
    atlas = xatlas.Atlas()
    atlas.add_mesh(surface.vertices, surface.faces.astype(np.uint32), surface.normals)
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1
    packing.padding = 2
    packing.resolution = 512
    atlas.generate(charts, packing)
    old, faces, uv = atlas[0]
    return old, faces.astype(np.int32), uv.astype(np.float32)


@torch.no_grad()
def albedo_at(field: Field, points: torch.Tensor, normals: torch.Tensor, reach: float = 3.0) -> torch.Tensor:
    """Albedo seen by looking straight at surface points: the quadrature of a short ray from outside to inside."""
    steps = 10
    t = torch.linspace(reach, -reach, steps, device=points.device) * field.detail
    xyz = (points[:, None] + t[None, :, None] * normals[:, None]).reshape(-1, 3)
    lookup = field.at(xyz)
    density, albedo = lookup.density(), lookup.albedo()
    ray = torch.arange(len(points), device=points.device).repeat_interleave(steps)
    delta = torch.full_like(density, 2 * reach * field.detail / (steps - 1))
    weight, _ = weights_packed(density + 1e-3, delta, ray, len(points))
    total = sum_packed(torch.cat([weight[:, None] * albedo, weight[:, None]], -1), ray, len(points))
    return total[:, :3] / total[:, 3:].clamp_min(1e-9)


def colour_of(scene: Solid) -> Colour:
    """What a scene's surface looks like without light: a function of surface points and normals."""
    if isinstance(scene, Painted):
        return lambda points, normals: scene.paint.at(points).albedo()
    return partial(albedo_at, scene.field)


@torch.no_grad()
def bake(colour: Colour, surface: Surface, size: int, device: torch.device | str = "cpu") -> Asset:
    """Unwrap a surface and bake its colour into a `size` x `size` picture, its seams padded."""
    old, faces, uv = unwrap(surface)
    vertices, normals = surface.vertices[old], surface.normals[old]
    row, column, face, weights = covered_cells(uv[faces] * size, size)
    points = np.einsum("nk,nkc->nc", weights, vertices[faces[face]])
    directions = np.einsum("nk,nkc->nc", weights, normals[faces[face]])
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True).clip(1e-9)
    colours = torch.cat(
        [
            colour(p.to(device), n.to(device)).cpu()
            for p, n in zip(
                torch.from_numpy(points).split(65_536), torch.from_numpy(directions).split(65_536), strict=True
            )
        ]
    )
    picture = np.zeros((size, size, 3), np.float32)
    filled = np.zeros((size, size), bool)
    picture[row, column], filled[row, column] = colours.numpy(), True
    nearest = ndimage.distance_transform_edt(~filled, return_distances=False, return_indices=True)
    picture = picture[nearest[0], nearest[1]]
    albedo = (picture[::-1].clip(0, 1) * 255).round().astype(np.uint8)
    return Asset(vertices, normals, uv, faces, np.ascontiguousarray(albedo))
