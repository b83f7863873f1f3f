"""`prolificdreamer`: variational score distillation into a field, then a mesh's shape, then its texture.

Ref: Wang et al., "ProlificDreamer: high-fidelity and diverse text-to-3D generation with variational score distillation"
(2023), Sections 3 and 4; "code" is its authors' public one, with one particle. Their first stage is two here, `coarse`
and `nerf`, between which the twin and the optimizer begin anew: at step 5,000 its noise falls, and in threestudio's
version its pictures grow, which saves memory while space is still full.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.camera_samplers import DreamFusionCameras
from ..core.schedules import Constant, Steps
from ..distill.noise import Times, annealed
from ..distill.sds import SDS
from ..distill.twin import TwinConfig
from ..distill.vsd import VSD
from ..scenes import HashConfig, MeshConfig
from . import small
from .base import LIT, NORMALS, UNLIT, Finish, Penalties, Recipe, Stage
from .optimizers import Adam, AdamW

EARLY = Times(low=Constant(0.02), high=Constant(0.98))  # paper: t ~ U(.02, .98) ...
LATE = Times(low=Constant(0.02), high=Constant(0.5))  # ... then U(.02, .5)
VARIATIONAL = VSD(cfg_scale=7.5, weighting="sigma2", twin=TwinConfig(rate=1e-4))  # paper: cfg 7.5; code: 1e-4, w(t)

# code: blob 10 and .5, finest 2048, softplus; threestudio: 2 features, 512 samples, skipped in empty cells
FIELD = HashConfig(features=2, occupancy=32)
NEAR = DreamFusionCameras(
    elevation_deg=(-30.0, 90.0), focal=(0.714, 1.374), position_jitter=0.0, target_std=0.0, up_std=0.0
)  # code: distance 1 to 1.5, polar angle 0 to 120 degrees, fov 40 to 70
WIDE = replace(NEAR, focal=(0.866, 1.866))  # code, of meshes: fov 30 to 60


@dataclass(frozen=True, kw_only=True)
class ProlificDreamer(Recipe):
    """Four stages in three parts: `coarse` and `nerf`; `geometry`; `texture`."""

    name: ClassVar[str] = "prolificdreamer"
    summary: ClassVar[str] = "VSD in three parts, hash grid, mesh, its texture, as its paper describes (for a GPU)"
    presets: ClassVar[dict[str, str]] = {"small": "scaled down to some minutes on two CPU cores, VSD from fog"}

    prior: str = "sd21-base"  # code; its twin adapts the v-prediction model, ours the prior itself
    finish: Finish = Finish(mesh_resolution=256, faces=100_000, texture=2048, preview_size=256, every_stage=True)

    coarse: Stage = Stage(
        steps=5000,  # code: the first of 25,000
        scene=FIELD,
        size=64,  # threestudio; code: 512 from the start
        noise=EARLY,
        distiller=VARIATIONAL,
        cameras=NEAR,
        shading=UNLIT,  # code: albedo only
        penalties=Penalties(opacity=Constant(10 / 64**2)),  # threestudio: 10, of a sum over latents; code: entropy
        optimizer=AdamW(rate=Constant(1e-2)),  # code: 1e-2, networks 1e-3
    )
    nerf: Stage = replace(coarse, steps=20_000, size=512, bands=16, noise=LATE)  # code: 512; bands: 10 GiB for 150
    geometry: Stage = Stage(
        steps=15_000,  # code
        scene=MeshConfig(resolution=96, paint=FIELD, tuned="geometry"),  # code: DMTet of 256
        size=512,
        noise=LATE,  # code, of both stages of the mesh
        distiller=SDS(cfg_scale=100.0, weighting="sigma2"),  # code: SDS, 100 in our convention
        cameras=WIDE,
        shading=NORMALS,  # code: normal maps
        penalties=Penalties(bending=Constant(5000 / 64**2), unevenness=Constant(0.5 / 64**2)),  # code: 5,000 and .5
        optimizer=Adam(rate=Constant(5e-3), eps=1e-15),  # threestudio
    )
    texture: Stage = Stage(
        steps=30_000,  # code
        scene=MeshConfig(resolution=96, paint=FIELD, tuned="texture"),
        size=512,
        noise=LATE,
        distiller=VARIATIONAL,
        cameras=WIDE,
        shading=UNLIT,
        optimizer=AdamW(rate=Constant(1e-2)),
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """What `small` scales: the hash grid 16 -> 8 levels, 2048 -> 64 cells, 512 -> 48 samples a ray; 64 -> 32 pixels
        for the field at first, 512 -> 64 from then on; 5,000 + 20,000 + 15,000 + 30,000 steps -> 400 + 80 + 150 + 100,
        with lower rates for the mesh. As the embedded prior likes it: thin fog instead of a blob, noise that falls, a
        twin that learns ten times as fast, lit colours for the mesh instead of normals, its own cameras and backdrops.
        """
        full, learned = cls(), VSD(cfg_scale=7.5)
        recipe = cls(
            coarse=replace(
                full.coarse, scene=small.FIELD, steps=400, size=32, noise=annealed(0.85, 0.45, 0.2),
                distiller=learned, penalties=Penalties(emptiness=Steps((0.0, 0.5), (0.001, 0.006))),
            ),
            nerf=replace(
                full.nerf, scene=small.FIELD, steps=80, size=64, bands=0,
                noise=annealed(0.5, 0.4, 0.2), distiller=learned, penalties=Penalties(emptiness=Constant(0.004)),
                optimizer=AdamW(rate=Constant(5e-3)),
            ),
            geometry=replace(
                full.geometry, scene=small.MESH, steps=150, size=64, noise=annealed(0.5, 0.3, 0.1),
                distiller=SDS(cfg_scale=15.0), shading=LIT, penalties=small.SMOOTH, optimizer=small.CARVE,
            ),
            texture=replace(
                full.texture, scene=replace(small.MESH, tuned="texture"), steps=100, size=64,
                noise=annealed(0.45, 0.15, 0.1), distiller=learned, shading=LIT, optimizer=small.PAINT,
            ),
        )  # fmt: skip
        return small.toylike(recipe)
