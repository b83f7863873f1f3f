"""`fantasia3d`: a ball becomes a shape by its normals alone, then takes its colours, with the numbers of its authors.

Ref: Chen et al., "Fantasia3D: disentangling geometry and appearance for high-quality text-to-3D content creation"
(2023), Sections 3 and 4; "code" is the authors' public one, with its settings for a car. Different here: colours under
one light stand for their physical material in an environment; distances are free numbers on the lattice, where theirs
come from a network; normals are never shown to the prior as latents, as theirs are in the first half of `geometry`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.camera_samplers import DreamFusionCameras
from ..core.samplers import BackdropSampler
from ..core.schedules import Constant, Ramp, Steps
from ..distill.noise import Times, annealed
from ..distill.sds import SDS
from ..scenes import HashConfig, MeshConfig
from . import small
from .base import LIT, NORMALS, Finish, Penalties, Recipe, Stage
from .optimizers import AdamW

MESH = MeshConfig(resolution=96, paint=HashConfig(environment=False))  # ours; code: DMTet of 128
BLACK = BackdropSampler(grey=(0.0, 0.0), tint=0.0, gradient=0.0)  # code
CAMERAS = DreamFusionCameras(  # code: fov 25.7 to 45, elevation -10 to 45; distance 3 in threestudio
    distance=(3.0, 3.0), focal=(1.21, 2.19), elevation_deg=(-10.0, 45.0), even_area_share=0.0, position_jitter=0.0,
    target_std=0.0, up_std=0.0,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Fantasia3D(Recipe):
    """Two stages: `geometry`, from a ball; `texture`, on the finished shape."""

    name: ClassVar[str] = "fantasia3d"
    summary: ClassVar[str] = "SDS on a ball's normals, then on its colours, as its paper describes (for a GPU)"
    presets: ClassVar[dict[str, str]] = {
        "small": "scaled down to some minutes on two CPU cores, colours from the start"
    }

    prior: str = "sd21-base"  # code
    finish: Finish = Finish(mesh_resolution=256, faces=100_000, texture=2048, preview_size=256, every_stage=True)

    geometry: Stage = Stage(
        steps=3000,  # code
        scene=MESH,  # a ball; code: an ellipsoid
        size=512,  # code
        views=4,  # code
        noise=Times(low=Constant(0.02), high=Constant(0.5)),  # code
        distiller=SDS(cfg_scale=100.0, weighting="sigma2"),  # code: so in the first half, then alpha_t sigma_t^2
        cameras=CAMERAS,
        shading=NORMALS,  # paper: normal maps, without colour
        backdrops=BLACK,
        penalties=Penalties(bending=Constant(100 / 64**2)),  # ours: free distances are rougher than a network's
        optimizer=AdamW(rate=Constant(1e-3), weight_decay=0.0),  # paper: AdamW of 1e-3
    )
    texture: Stage = Stage(
        steps=2000,  # code
        scene=replace(MESH, tuned="texture"),
        size=512,
        views=3,  # code
        noise=Times(low=Constant(0.02), high=Steps((0.0, 300 / 2000), (0.98, 0.5))),  # code: after 300 steps
        distiller=SDS(cfg_scale=50.0, weighting="alpha_sigma2"),  # code, its strategy 0
        cameras=CAMERAS,
        shading=LIT,  # for their physical material
        backdrops=BLACK,
        optimizer=AdamW(rate=Constant(1e-2)),  # paper: 1e-2
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """What `small` scales: the lattice 96 -> 28 cubes along an edge, which a ball crosses in fewer steps and with
        fewer blisters; the hash grid 16 -> 8 levels, 2048 -> 64 cells; 512 -> 64 pixels, 4 and 3 -> 1 views,
        3,000 + 2,000 steps -> 500 + 200; cfg 100 and 50 -> 8 and 15. The embedded prior has never seen normals:
        `geometry` shows it lit colours, which are optimized with the shape. They end dark, for much noise alone says
        how bright a thing is to be: `texture` begins there again, as the paper's does.
        """
        full = cls()
        mesh = MeshConfig(resolution=28, paint=small.FIELD)
        recipe = cls(
            geometry=replace(
                full.geometry, scene=replace(mesh, tuned="both", paint_rate=0.7), steps=500, size=64, views=1,
                noise=annealed(0.8, 0.25, 0.2), distiller=SDS(cfg_scale=8.0, weighting="x0"), shading=LIT,
                penalties=Penalties(bending=Constant(0.3), unevenness=Constant(8.0)),
                optimizer=AdamW(rate=Ramp(1.5e-2, 3e-3), weight_decay=0.0),
            ),
            texture=replace(
                full.texture, scene=replace(mesh, tuned="texture"), steps=200, size=64, views=1,
                noise=annealed(0.92, 0.35, 0.15), distiller=SDS(cfg_scale=15.0),
                optimizer=AdamW(rate=Ramp(3e-2, 3e-3), weight_decay=0.0),
            ),
        )  # fmt: skip
        return small.toylike(recipe)
