"""`magic3d`: score distillation into a hash grid, then into a mesh, with the numbers of its authors.

Ref: Lin et al., "Magic3D: high-resolution text-to-3D content creation" (2023), Sections 3 and 4. Its prior and code are
not public: "code" is threestudio's, of one view a step, hence of more steps than the paper's, which are of 32 views.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.camera_samplers import DreamFusionCameras
from ..core.samplers import DreamFusionLights, ShadingSampler
from ..core.schedules import Constant, Ramp
from ..distill.noise import Times, annealed
from ..distill.sds import SDS
from ..scenes import HashConfig, MeshConfig
from . import small
from .base import LIT, UNLIT, Finish, Penalties, Recipe, Stage
from .optimizers import Adam, AdamW

FIELD = HashConfig(features=2, finest=4096, network_rate=1.0, occupancy=32)
"Code: 16 levels of 2 features, 16 to 4096 cells. The bias of density is the paper's, as in `HashConfig`."
CAMERAS = DreamFusionCameras(distance=(1.5, 2.0))  # code; what else is not said is DreamFusion's
NEAR = replace(CAMERAS, elevation_deg=(-10.0, 45.0), even_area_share=0.0, focal=(1.207, 1.866))  # code: fov 30 to 45
LIGHTS = DreamFusionLights(ambient=0.1)  # ours: DreamFusion's; theirs stay within 60 degrees of the camera


@dataclass(frozen=True, kw_only=True)
class Magic3D(Recipe):
    """Two stages: `coarse`, a field; `fine`, a mesh whose shape and colours are optimized together."""

    name: ClassVar[str] = "magic3d"
    summary: ClassVar[str] = "SDS coarse to fine, a hash grid, then a mesh, as its paper describes (for a GPU)"
    presets: ClassVar[dict[str, str]] = {"small": "scaled down to some minutes on two CPU cores, one prior for both"}

    prior: str = "if"  # code; for eDiff-I's base model, of 64 x 64 pixels as well
    finish: Finish = Finish(mesh_resolution=256, faces=100_000, texture=2048, preview_size=256, every_stage=True)

    coarse: Stage = Stage(
        steps=10_000,  # code
        scene=FIELD,
        size=64,  # paper: 64 x 64
        noise=Times(low=Constant(0.02), high=Constant(0.98)),  # code
        distiller=SDS(cfg_scale=101.0, weighting="sigma2"),  # paper: 100 as in DreamFusion; code, for IF: 20
        cameras=CAMERAS,
        lights=LIGHTS,
        shading=ShadingSampler(albedo_until=0.2, shaded=0.75, textureless=0.5),  # code: unlit for 2,000 steps
        penalties=Penalties(
            opacity=Constant(1.0 / 64**2),  # code: 1, against a sum over pixels
            orientation=Ramp(10 / 64**2, 1000 / 64**2, until=0.5),  # code: 10 to 1,000 over 5,000 steps
        ),
        optimizer=Adam(rate=Constant(1e-2), eps=1e-15),  # code: 1e-2, background 1e-3
    )
    fine: Stage = Stage(
        steps=5000,  # code
        scene=MeshConfig(resolution=96, paint=FIELD, tuned="both"),  # paper: DMTet; its resolution is ours
        prior="sd21-base",  # code; paper: a latent diffusion model
        size=512,  # paper: 512 x 512
        noise=Times(low=Constant(0.02), high=Constant(0.5)),  # code
        distiller=SDS(cfg_scale=100.0, weighting="sigma2"),  # code
        cameras=NEAR,
        lights=LIGHTS,
        shading=ShadingSampler(albedo_until=0.0, shaded=0.75, textureless=0.5),
        penalties=Penalties(bending=Constant(10_000 / 64**2)),  # code: 10,000, against a sum over 64 x 64 latents
        optimizer=Adam(rate=Constant(1e-2), eps=1e-15),  # code
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """What `small` scales: the hash grid 16 -> 8 levels, 4096 -> 64 cells, 512 -> 48 samples a ray; 64 -> 32 pixels
        for the field, 512 -> 64 for the mesh; 10,000 + 5,000 steps -> 600 + 200, with lower rates for the mesh; cfg
        100 -> 15. As the embedded prior likes it: thin fog instead of a blob, noise that falls, an unlit field and a
        mesh that is always lit, its own cameras, lights and backdrops.
        """
        recipe = cls(
            coarse=Stage(
                steps=600,
                scene=small.FIELD,
                size=32,
                noise=annealed(0.85, 0.45, 0.2),
                distiller=SDS(cfg_scale=15.0),
                shading=UNLIT,
                penalties=small.CLEARED,
                optimizer=AdamW(rate=Constant(1e-2)),
            ),
            fine=Stage(
                steps=200,
                scene=replace(small.MESH, tuned="both", paint_rate=0.2),
                size=64,
                noise=annealed(0.5, 0.2, 0.1),
                distiller=SDS(cfg_scale=15.0),
                shading=LIT,
                penalties=small.SMOOTH,
                optimizer=small.CARVE,
            ),
        )
        return small.toylike(recipe)
