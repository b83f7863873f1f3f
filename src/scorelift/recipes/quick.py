"""`quick`, the default: the best asset per second with the embedded prior on two CPU cores.

Ours. First perturb-and-average scores into unlit, soft voxels, which settle the shape; then score distillation in x0
form under lights, which settles the surface and takes the shade out of the colours. Noise falls in each stage, as in
SJC's 2-D study (their Sec. 5.1) and DreamTime (Huang et al. 2023), and emptiness grows, as in SJC (their Sec. 4.2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.samplers import BackdropSampler, OrbitSampler, ShadingSampler
from ..core.schedules import Constant, Ramp, Steps
from ..distill.noise import annealed
from ..distill.sds import SDS
from ..distill.sjc import SJC
from ..scenes.voxels import VoxelConfig
from .base import UNLIT, Penalties, Recipe, Stage
from .optimizers import Adamax

VOXELS = VoxelConfig(
    resolution=64, density_scale=1.0, density_shift=-1.0, learned_gain=True, blob_sharpness=0.0, prune_from=0.1
)  # fmt: skip
"""Thin grey fog everywhere, as SJC begins: what is to be stands out of it, nothing has to be carved."""

BACKDROPS = BackdropSampler(grey=(0.25, 0.75))
"""Not as bright as the prior knows them, for before white nothing white is seen."""


@dataclass(frozen=True, kw_only=True)
class Quick(Recipe):
    """Two stages on one voxel field: its shape unlit, then its surface lit."""

    name: ClassVar[str] = "quick"
    summary: ClassVar[str] = "annealed scores into voxels, unlit, then lit; the default, forty seconds on two CPU cores"
    presets: ClassVar[dict[str, str]] = {"draft": "a third of the steps", "long": "three times the steps"}

    shape: Stage = Stage(
        steps=450,
        scene=VOXELS,
        noise=annealed(0.85, 0.5, 0.2),
        distiller=SJC(cfg_scale=15.0),
        cameras=OrbitSampler(high_share=0.15, high_elevation_deg=(50, 75)),
        shading=UNLIT,
        backdrops=BACKDROPS,
        penalties=Penalties(emptiness=Steps((0.0, 0.5), (0.002, 0.02))),
        optimizer=Adamax(rate=Constant(0.05)),
    )
    surface: Stage = Stage(
        steps=250,
        scene=replace(VOXELS, prune_from=0.0),
        noise=annealed(0.75, 0.45, 0.1),
        distiller=SDS(cfg_scale=8.0, weighting="x0"),
        cameras=OrbitSampler(high_share=0.15, high_elevation_deg=(50, 75)),
        # Always lit: the prior has seen lit toys only, and paints the shade of an unlit one into its albedo.
        shading=ShadingSampler(albedo_until=0.0, shaded=1.0, textureless=0.1),
        backdrops=BACKDROPS,
        penalties=Penalties(emptiness=Constant(0.008)),
        optimizer=Adamax(rate=Ramp(0.04, 0.02)),
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        scale = {"draft": 1 / 3, "long": 3.0}[name]
        recipe = cls()
        return recipe.with_stages(
            {n: replace(s, steps=max(1, round(s.steps * scale))) for n, s in recipe.stages().items()}
        )
