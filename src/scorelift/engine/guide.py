"""A coarse mesh that tells a scene where to be dense: read, sampled on a grid, held against the scene's density.

Ref: Latent-NeRF (Metzer et al. 2023), Section 3.2; "code" is the authors' public one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import torch
import trimesh
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from torch import Tensor

from ..core.errors import bad
from ..export.triangles import covered_cells
from ..kernels.trilinear import trilinear_reference
from ..recipes.base import Guide, Recipe, Stage
from ..scenes import Field, GaussianConfig, Gaussians, ModelConfig, Scene, SceneConfig, Volume
from ..scenes.given import read_given
from ..scenes.network import NetworkConfig
from ..scenes.voxels import VoxelConfig

GRID = 64
"Points along an edge of [-1, 1]^3 at which distances to the mesh are known."
SAMPLES = 10_000
"Points of the surface by which distances are measured."
PLACES, FEW = 8192, 1024
"""Of the field, a step; fewer where there are Gaussians, each of which is asked at every place."""
STEP = 0.2
"Code: length of a ray whose opacity is held against the mesh."
DOUBT = 0.01
"Code: opacity of what is outside the mesh; one less this of what is inside."


@dataclass(frozen=True)
class Shape:
    """A guide's mesh as signed distances on a grid over [-1, 1]^3, negative inside."""

    distance: Float[Tensor, "n n n 1"]

    def to(self, device: torch.device | str) -> Shape:
        """The shape on a device."""
        return Shape(self.distance.to(device))

    def at(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Signed distances of points; beyond the grid those at its border."""
        return trilinear_reference(self.distance, xyz)[:, 0]

    def loss(self, scene: Scene, sigma: float, generator: torch.Generator) -> Float[Tensor, ""]:
        """Mean over random places of CE(opacity there, inside or not) (1 - exp(-d^2 / 2 sigma^2)).

        The cross entropy is -a log b - (1 - a) log(1 - b) of the scene's opacity a over `STEP`, and of b, 1 inside the
        mesh and 0 outside, kept `DOUBT` away from both. Ref: Latent-NeRF Eq. 1; the order of a and b is the code's.

        Raises:
            ScoreliftError: for a scene without density.
        """
        check_guided(scene)
        assert isinstance(scene, Volume | Gaussians)
        dense: Field | Gaussians = scene.field if isinstance(scene, Volume) else scene
        extent, places = (dense.extent, PLACES) if isinstance(dense, Field) else (1.0, FEW)
        xyz = (2 * torch.rand(places, 3, generator=generator) - 1).to(scene.device) * extent
        distance = self.at(xyz)
        opacity = 1 - torch.exp(-STEP * dense.density_at(xyz))
        inside = (distance < 0).to(opacity).clamp(DOUBT, 1 - DOUBT)
        entropy = -opacity * inside.log() - (1 - opacity) * (1 - inside).log()
        return (entropy * (1 - torch.exp(-distance.square() / (2 * sigma**2)))).mean()


def check_guided(scene: Scene | SceneConfig) -> None:
    """Raise for a scene that no guide can lead."""
    if not isinstance(scene, Volume | Gaussians | NetworkConfig | VoxelConfig | GaussianConfig):
        kind = type(scene).__name__.removesuffix("Config").lower()
        raise bad("guide", expected="a stage whose scene has density: a field, or Gaussians", got=f"a {kind}",
                  remedy="Guide the stage before.")  # fmt: skip


def check_meshes(stage: Stage) -> None:
    """Raise for a mesh to paint that cannot be used, and as `check_guide`."""
    if isinstance(stage.scene, ModelConfig):
        stage.scene.read()
    check_guide(stage)


def check_guide(stage: Stage) -> None:
    """Raise for a stage's guide that is missing, no mesh, empty or not closed, or where the scene has no density."""
    if stage.guide.path is not None:
        check_guided(stage.scene)
        read_mesh(stage.guide)


def mesh_hashes(recipe: Recipe) -> dict[str, str]:
    """SHA-256 of the files that users brought, by the options that name them."""
    found = {}
    for name, stage in recipe.stages().items():
        if stage.guide.path is not None:
            found[f"{name}.guide.path"] = _hash(Path(stage.guide.path))
        if isinstance(stage.scene, ModelConfig) and stage.scene.mesh is not None:
            found[f"{name}.scene.mesh"] = _hash(Path(stage.scene.mesh))
    return found


def _hash(path: Path) -> str:
    """Of a file; of a .gltf with the files beside it."""
    data = path.read_bytes()
    if path.suffix.lower() == ".gltf":
        uris = [buffer.get("uri", "data:") for buffer in json.loads(data).get("buffers", [])]
        data += b"".join((path.parent / unquote(u)).read_bytes() for u in uris if not u.startswith("data:"))
    return hashlib.sha256(data).hexdigest()


def load_guide(stage: Stage) -> Shape | None:
    """A stage's guide, or None if it has none.

    Raises:
        ScoreliftError: as `check_guide`.
    """
    check_guide(stage)
    return None if stage.guide.path is None else shape_of(*read_mesh(stage.guide))


def read_mesh(guide: Guide) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
    """Vertices, in the scene's axes and at the guide's size, and faces of its mesh.

    Raises:
        ScoreliftError: if the file is missing, no mesh, empty, not closed, or outside the scene.
    """
    assert guide.path is not None
    mesh = read_given(guide.path, "guide.path", radius=guide.radius, closed=True)
    return mesh.vertices, mesh.faces


def shape_of(vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], grid: int = GRID) -> Shape:
    """A closed mesh's signed distances.

    Inside is where its winding number is not 0, so that closed parts may overlap; distances are those to the nearest of
    `SAMPLES` points of the surface, whose own distance from each other is about 2 / sqrt(SAMPLES) of its width.
    """
    axis = np.linspace(-1, 1, grid)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    surface, _ = trimesh.sample.sample_surface(trimesh.Trimesh(vertices, faces, process=False), SAMPLES, seed=0)
    away = cKDTree(surface).query(points)[0].reshape(grid, grid, grid)
    signed = np.where(winding_numbers(vertices, faces, grid) == 0, away, -away)
    return Shape(torch.from_numpy(signed.astype(np.float32))[..., None])


def winding_numbers(
    vertices: Float[np.ndarray, "v 3"], faces: Int[np.ndarray, "f 3"], n: int
) -> Int[np.ndarray, "n n n"]:
    """How often a closed mesh surrounds each point of a grid over [-1, 1]^3, by the faces below it along z."""
    odd = np.array([1.7e-4, 2.3e-4, 0.0])  # of a cell: no line of points runs along an edge
    cells = (vertices + 1) * ((n - 1) / 2) + 0.5 + odd
    row, column, face, weights = covered_cells(cells[faces][:, :, :2], n)
    corners = cells[faces[face]]
    height = np.einsum("nk,nk->n", weights, corners[:, :, 2])
    a, b = (corners[:, k, :2] - corners[:, 0, :2] for k in (1, 2))
    down = -np.sign(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).astype(np.int64)
    crossings = np.zeros((n, n, n + 1), np.int64)
    np.add.at(crossings, (column, row, np.ceil(height - 0.5).clip(0, n).astype(np.int64)), down)
    return crossings.cumsum(-1)[..., :n]
