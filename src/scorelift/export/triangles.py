"""Which cells of a square raster triangles cover, all triangles at once, and pictures of meshes made of that."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.cameras import Cameras
from ..core.lights import Lights
from ..kernels.raster import project, rasterize


def covered_cells(
    corners: Float[np.ndarray, "f 3 2"], size: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """Cells of a `size` x `size` raster whose centres lie in a triangle: row, column, face and barycentric weights.

    Corners are (x, y) in cells; row i and column j have their centre at (j + .5, i + .5).
    """
    low = np.floor(corners.min(1)).clip(0, size).astype(np.int64)
    high = np.ceil(corners.max(1)).clip(0, size).astype(np.int64)
    span = np.maximum(high - low, 0)
    count = span[:, 0] * span[:, 1]
    face = np.repeat(np.arange(len(corners)), count)
    within = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    column = low[face, 0] + within % span[face, 0]
    row = low[face, 1] + within // span[face, 0]
    a, b, c = corners[face, 0], corners[face, 1], corners[face, 2]
    p = np.stack([column + 0.5, row + 0.5], -1)
    area = _cross(b - a, c - a)
    safe = np.where(np.abs(area) < 1e-12, 1.0, area)
    weights = np.stack([_cross(b - p, c - p), _cross(c - p, a - p), _cross(a - p, b - p)], -1) / safe[:, None]
    inside = (weights >= -1e-6).all(-1) & (np.abs(area) >= 1e-12)
    return row[inside], column[inside], face[inside], weights[inside].astype(np.float32)


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def visible_faces(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], camera: Cameras, size: int
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"], Float[np.ndarray, "n 3"]]:
    """What the first camera sees: pixel (row-major), face, and perspective-correct barycentric weights.

    Faces with a corner behind the camera are left out.
    """
    corners = torch.from_numpy(faces).long()
    seen = rasterize(project(torch.from_numpy(vertices).float(), camera[:1], size), corners, size)
    return seen.pixel.numpy(), seen.face.numpy(), seen.weights.numpy()


def texture_at(albedo: np.ndarray, uv: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 3"]:
    """Bilinear colours in [0, 1] of an (h, w, 3) uint8 picture at texture coordinates (origin at the lower left)."""
    picture = torch.from_numpy(np.ascontiguousarray(albedo[::-1])).float().div(255).permute(2, 0, 1)[None]
    place = torch.from_numpy(uv * 2 - 1)[None, None].float()
    colours = torch.nn.functional.grid_sample(picture, place, padding_mode="border", align_corners=False)
    return colours[0, :, 0].T.numpy()


def mesh_layers(
    vertices: Float[np.ndarray, "v 3"],
    normals: Float[np.ndarray, "v 3"],
    uv: Float[np.ndarray, "v 2"],
    faces: Int[np.ndarray, "f 3"],
    albedo: np.ndarray,
    camera: Cameras,
    lights: Lights,
    size: int,
    supersample: int = 2,
) -> dict[str, Float[Tensor, "c h w"]]:
    """Antialiased pictures of a textured mesh by the first camera and light.

    Returns:
        "albedo", "shade" (1 channel), "normal", "depth" (1 channel, along the ray), "opacity" (1 channel); the first
        four are multiplied by opacity.
    """  # fmt: skip
    fine = size * supersample
    pixel, face, weights = visible_faces(vertices, faces, camera, fine)
    corners = faces[face]
    xyz = np.einsum("nk,nkc->nc", weights, vertices[corners]).astype(np.float32)
    normal = np.einsum("nk,nkc->nc", weights, normals[corners]).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True).clip(1e-9)
    colour = texture_at(albedo, np.einsum("nk,nkc->nc", weights, uv[corners]).astype(np.float32))
    shade = lights.shade(torch.from_numpy(xyz)[None], torch.from_numpy(normal)[None])[0].numpy()
    depth = np.linalg.norm(xyz - camera.position[0].numpy(), axis=-1)
    columns = np.concatenate([colour, shade[:, None], normal, depth[:, None], np.ones((len(pixel), 1))], -1)
    image = np.zeros((fine * fine, columns.shape[1]), np.float32)
    image[pixel] = columns
    image = image.reshape(size, supersample, size, supersample, -1).mean((1, 3))
    layers = torch.from_numpy(image).permute(2, 0, 1)
    return {
        "albedo": layers[:3],
        "shade": layers[3:4],
        "normal": layers[4:7],
        "depth": layers[7:8],
        "opacity": layers[8:],
    }
