"""`quick`, the default: the best asset per second with the embedded prior on two CPU cores.

Ours. Score distillation in x0 form with annealed noise: each step pulls a render toward the prior's guess of the clean
picture at a noise level that falls from almost pure noise to almost none, coarse pictures and voxels first, fine ones
after. Annealing as in SJC's 2-D study (their Sec. 4.1) and DreamTime (Huang et al. 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.samplers import OrbitSampler, ShadingSampler
from ..core.schedules import Constant, Ramp
from ..distill.noise import annealed
from ..distill.sds import SDS
from ..scenes.voxels import VoxelConfig
from .base import Penalties, Recipe, Stage
from .optimizers import Adam


@dataclass(frozen=True, kw_only=True)
class Quick(Recipe):
    """Two stages on a voxel field: 32 x 32 renders, then 64 x 64."""

    name: ClassVar[str] = "quick"
    summary: ClassVar[str] = "annealed SDS into voxels, coarse to fine; the default, about a minute on two CPU cores"
    presets: ClassVar[dict[str, str]] = {"draft": "a third of the steps", "long": "three times the steps"}

    coarse: Stage = Stage(
        steps=300,
        scene=VoxelConfig(resolution=40, blob_depth=6.0),
        size=32,
        views=2,
        noise=annealed(0.94, 0.65, 0.1),
        distiller=SDS(cfg_scale=12.0, weighting="x0"),
        cameras=OrbitSampler(high_share=0.15, high_elevation_deg=(50, 75)),
        shading=ShadingSampler(albedo_until=0.2, shaded=0.8, textureless=0.2),
        penalties=Penalties(emptiness=Ramp(0.005, 0.025)),
        optimizer=Adam(rate=Constant(0.08)),
    )
    fine: Stage = Stage(
        steps=250,
        scene=VoxelConfig(resolution=64, prune_from=0.0),
        size=64,
        views=1,
        noise=annealed(0.8, 0.5, 0.1),
        distiller=SDS(cfg_scale=8.0, weighting="x0"),
        cameras=OrbitSampler(high_share=0.15, high_elevation_deg=(50, 75)),
        # Always lit: the prior has seen lit toys only, and would paint the shade of an unlit one into its albedo.
        shading=ShadingSampler(albedo_until=0.0, shaded=1.0, textureless=0.1),
        penalties=Penalties(emptiness=Constant(0.025), roughness=Constant(0.002)),
        optimizer=Adam(rate=Ramp(0.06, 0.02)),
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        scale = {"draft": 1 / 3, "long": 3.0}[name]
        recipe = cls()
        return recipe.with_stages(
            {n: replace(s, steps=max(1, round(s.steps * scale))) for n, s in recipe.stages().items()}
        )
