"""What the `small` presets share: hash grid and mesh for two CPU cores, the embedded prior's cameras, told to it.

Thin fog instead of a blob, to be emptied on the way; lit colours instead of normals, which that prior has never seen.
"""

from __future__ import annotations

from dataclasses import replace

from ..core.camera_samplers import OrbitSampler
from ..core.samplers import BackdropSampler
from ..core.schedules import Constant, Ramp, Steps
from ..scenes import HashConfig, MeshConfig
from .base import Finish, Penalties, Prompting, Recipe
from .optimizers import AdamW

FIELD = HashConfig(
    levels=8, features=2, log2_rows=14, coarsest=8, finest=64, width=32, coarse_samples=48, occupancy=32,
    environment=False, blob=0.0, density_bias=-1.0, difference=0.03,
)  # fmt: skip
MESH = MeshConfig(resolution=40, paint=FIELD)

CAMERAS = OrbitSampler(high_share=0.15, high_elevation_deg=(50, 75))
BACKDROPS = BackdropSampler(grey=(0.25, 0.75), tint=0.4)
"""Not as bright as the prior knows them, for before white nothing white is seen; and of more colours, for before grey
ones alone a car's pale windows are taken for the background and eaten, and dark fog below a toy for its shadow.
"""

CAMERA = Prompting(choice="camera")
"""Told the camera, the prior need not guess within the range of a phrase what stands where: truer, crisper shapes."""

CLEARED = Penalties(emptiness=Steps((0.0, 0.5), (0.002, 0.02)))
"For score distillation into fog, whose gradients are some hundred times those of probability flow."
SMOOTH = Penalties(bending=Constant(1.0), unevenness=Constant(50.0))

CARVE = AdamW(rate=Ramp(5e-3, 1e-3), weight_decay=0.0)
PAINT = AdamW(rate=Ramp(1e-3, 2e-4), weight_decay=0.0)


def toylike(recipe: Recipe) -> Recipe:
    """The recipe with the embedded prior, told cameras that it knows, before backdrops of all tints."""
    stages = {
        name: replace(stage, cameras=CAMERAS, backdrops=BACKDROPS, prompting=CAMERA)
        for name, stage in recipe.stages().items()
    }
    return replace(recipe.with_stages(stages), prior="toybox", finish=Finish(every_stage=True))
