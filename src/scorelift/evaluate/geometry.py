"""How far an asset is from the truth: surfaces, volumes and views, after the alignment that fits best and keeps "up".

Distances are fractions of the diagonal of the true object's box (1.6 to 2.6, of toys that reach .8 from the origin).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import trimesh
from jaxtyping import Bool, Float, Int
from scipy.spatial import cKDTree
from skimage.metrics import structural_similarity

from ..core.camera_samplers import RingSampler
from ..core.cameras import Cameras
from ..core.lights import Lights
from ..export.texture import Asset
from ..export.triangles import covered_cells, mesh_layers
from ..toybox.truth import Truth

Points = Float[np.ndarray, "n 3"]
F_SCORE_AT = 0.02
"Share of the diagonal within which a point counts as on the surface."


@dataclass(frozen=True)
class Alignment:
    """x -> scale * R(yaw) x + shift: a similarity that keeps the vertical."""

    scale: float
    yaw_deg: float
    shift: Float[np.ndarray, "3"]

    @property
    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """The turn about the vertical."""
        c, s = np.cos(np.deg2rad(self.yaw_deg)), np.sin(np.deg2rad(self.yaw_deg))
        return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])

    def __call__(self, points: Points) -> Points:
        return self.scale * points @ self.rotation.T + self.shift


def surface_samples(vertices: np.ndarray, faces: np.ndarray, n: int, seed: int = 0) -> tuple[Points, Points]:
    """Points spread evenly over a surface, and the normals of their faces."""
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    points, index = trimesh.sample.sample_surface(mesh, n, seed=seed)
    return np.asarray(points), np.asarray(mesh.face_normals[index])


def best_alignment(source: Points, target: Points, starts: int = 12, rounds: int = 12) -> Alignment:
    """The similarity (turn about the vertical, scale, shift) that brings source points nearest to target points.

    Iterated closest points from `starts` turns; the best by symmetric mean distance. Turning by 0 wins ties.
    """
    tree = cKDTree(target)
    best, best_gap = Alignment(1.0, 0.0, np.zeros(3)), np.inf
    for start in range(starts):
        guess = _fit_size(source, target, 360.0 * start / starts)
        for _ in range(rounds):
            moved = guess(source)
            forth = target[tree.query(moved)[1]]
            back = cKDTree(moved).query(target)[1]
            guess = _similarity(np.concatenate([source, source[back]]), np.concatenate([forth, target]))
        gap = _symmetric_gap(guess(source), target)
        if gap < best_gap * (1 - 1e-3):
            best, best_gap = guess, gap
    return best


def _fit_size(source: Points, target: Points, yaw_deg: float) -> Alignment:
    middle = (source.max(0) + source.min(0)) / 2
    goal = (target.max(0) + target.min(0)) / 2
    scale = np.linalg.norm(target - goal, axis=1).mean() / np.linalg.norm(source - middle, axis=1).mean()
    turned = Alignment(scale, yaw_deg, np.zeros(3))
    return Alignment(scale, yaw_deg, goal - turned(middle[None])[0])


def _similarity(source: Points, target: Points) -> Alignment:
    """Least squares over matched points; the turn from the horizontal coordinates alone (Umeyama 1991, one angle)."""
    a, b = source.mean(0), target.mean(0)
    p, q = source - a, target - b
    cosine = (p[:, :2] * q[:, :2]).sum()
    sine = (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum()
    yaw = np.arctan2(sine, cosine)
    vertical = (p[:, 2] * q[:, 2]).sum()
    scale = (np.hypot(cosine, sine) + vertical) / (p**2).sum()
    turned = Alignment(scale, float(np.rad2deg(yaw)), np.zeros(3))
    return Alignment(scale, float(np.rad2deg(yaw)), b - turned(a[None])[0])


def _symmetric_gap(a: Points, b: Points) -> float:
    return float(cKDTree(b).query(a)[0].mean() + cKDTree(a).query(b)[0].mean()) / 2


def filled_cells(vertices: np.ndarray, faces: np.ndarray, n: int, extent: float = 1.0) -> Bool[np.ndarray, "n n n"]:
    """Cells of an n^3 grid over [-extent, extent]^3 whose centres lie inside a closed mesh, by parity along z."""
    cells = (vertices / extent + 1) * (n / 2)
    row, column, face, weights = covered_cells(cells[faces][:, :, :2], n)
    height = np.einsum("nk,nk->n", weights, cells[faces[face]][:, :, 2])
    first: Int[np.ndarray, " m"] = np.ceil(height - 0.5).clip(0, n).astype(np.int64)
    crossings = np.zeros((n, n, n + 1), np.int64)
    np.add.at(crossings, (column, row, first), 1)
    return crossings.cumsum(-1)[..., :n] % 2 == 1


def compare_geometry(asset: Asset, truth: Truth, *, samples: int = 6000, grid: int = 64) -> dict[str, float]:
    """Chamfer distance, F-score, normal consistency and volume IoU of an asset against the truth, aligned.

    Returns:
        "chamfer": mean distance from either surface to the other, as a share of the diagonal of the truth's box;
        "f_score": harmonic mean of the shares of points within 2 % of that; "normal_consistency": mean |cosine|
        between nearest normals; "iou": of the volumes; "yaw_deg": the turn of the alignment.
    """
    vertices, faces = truth.mesh(80)
    target, target_normals = surface_samples(vertices, faces, samples)
    source, source_normals = surface_samples(asset.vertices, asset.faces, samples, seed=1)
    fit = best_alignment(source[::4], target[::4])
    moved, normals = fit(source), source_normals @ fit.rotation.T
    diagonal = float(np.linalg.norm(vertices.max(0) - vertices.min(0)))
    forth, there = cKDTree(target).query(moved)
    back, here = cKDTree(moved).query(target)
    precision, recall = ((gap <= F_SCORE_AT * diagonal).mean() for gap in (forth, back))
    agreement = np.abs((normals * target_normals[there]).sum(-1)).mean()
    agreement += np.abs((target_normals * normals[here]).sum(-1)).mean()
    inside = filled_cells(fit(asset.vertices), asset.faces, grid)
    axis = (torch.arange(grid) + 0.5) * (2 / grid) - 1
    centres = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    true = truth.occupied(centres).view(grid, grid, grid).numpy()
    return {
        "chamfer": float(forth.mean() + back.mean()) / 2 / diagonal,
        "f_score": float(2 * precision * recall / max(precision + recall, 1e-9)),
        "normal_consistency": float(agreement / 2),
        "iou": float((inside & true).sum() / max((inside | true).sum(), 1)),
        "yaw_deg": float((fit.yaw_deg + 180) % 360 - 180),
    }


def compare_views(
    asset: Asset, truth: Truth, *, views: int = 8, size: int = 64, elevation_deg: float = 15.0
) -> dict[str, float]:
    """PSNR and SSIM of unlit views from around, without any alignment: the object should face the front by itself."""
    ring = RingSampler(count=views, elevation_deg=elevation_deg).ring()
    lights = Lights(ring.position, torch.ones(views))
    true = truth.picture(ring, lights, size).permute(0, 2, 3, 1).numpy()
    got = np.stack([asset_view(asset, ring[i : i + 1], size) for i in range(views)])
    errors = ((true - got) ** 2).reshape(views, -1).mean(1)
    ssim = [structural_similarity(a, b, channel_axis=-1, data_range=1.0) for a, b in zip(true, got, strict=True)]
    return {"psnr": float(np.mean(-10 * np.log10(errors.clip(1e-8)))), "ssim": float(np.mean(ssim))}


def asset_view(asset: Asset, camera: Cameras, size: int, backdrop: float = 0.85) -> Float[np.ndarray, "h w 3"]:
    """An unlit picture of an asset."""
    lights = Lights(camera.position, torch.ones(1))
    parts = (asset.vertices, asset.normals, asset.uv, asset.faces, asset.albedo)
    layers = mesh_layers(*parts, camera, lights, size)
    return (layers["albedo"] + (1 - layers["opacity"]) * backdrop).permute(1, 2, 0).numpy()
