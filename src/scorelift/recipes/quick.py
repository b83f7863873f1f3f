"""`quick`, the default: the best asset per second with the embedded prior on two CPU cores.

Ours, in DreamFlow's way (Lee et al. 2024), each render its own twin: renders follow the prior's probability flow, first
of Gaussians (Kerbl et al. 2023), unlit and small, which settles what stands where, and colours; then of their surface
as a mesh, lit and larger, which settles the shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.schedules import Constant, Ramp
from ..distill.noise import Trajectory
from ..distill.twin import TwinConfig
from ..distill.vsd import APFO
from ..scenes import GaussianConfig, VoxelConfig
from . import small
from .base import LIT, UNLIT, Penalties, Recipe, Stage
from .optimizers import Adam

VIEWS = 2
"The embedded prior sees two in little more time than one."
CLOUD = GaussianConfig(count=600, most=3000, looks=12)
PAINT = VoxelConfig(resolution=112, shape="box")
"What the Gaussians' colours become for the mesh."
RATE = Ramp(1.3e-2, 2.6e-3, log=True)
ADAM = Adam(rate=RATE, betas=(0.9, 0.999), eps=1e-15)
FLOW = APFO(cfg_scale=6.5, twin=TwinConfig(kind="identity"))
"""More guidance makes thinner shapes, less makes blunter ones."""


@dataclass(frozen=True, kw_only=True)
class Quick(Recipe):
    """Two stages: Gaussians unlit, for the parts and colours; their surface as a mesh, lit."""

    name: ClassVar[str] = "quick"
    summary: ClassVar[str] = "probability flow into Gaussians, then into a mesh; the default, for two CPU cores"
    presets: ClassVar[dict[str, str]] = {"draft": "a third of the steps", "long": "three times the steps"}

    shape: Stage = Stage(
        steps=360,
        scene=CLOUD,
        size=32,
        views=VIEWS,
        noise=Trajectory(start=0.9, end=0.4, levels=360),
        distiller=FLOW,
        prompting=small.CAMERA,
        cameras=small.CAMERAS,
        shading=UNLIT,
        backdrops=small.BACKDROPS,
        optimizer=ADAM,
    )
    surface: Stage = Stage(
        steps=130,
        scene=replace(small.MESH, paint=PAINT),
        size=64,
        views=VIEWS,
        noise=Trajectory(start=0.6, end=0.35, levels=130),
        distiller=replace(FLOW, cfg_scale=7.5),
        prompting=small.CAMERA,
        cameras=small.CAMERAS,
        shading=LIT,
        backdrops=small.BACKDROPS,
        penalties=Penalties(bending=Constant(3e-2), unevenness=Constant(3.0)),
        optimizer=small.CARVE,
    )

    def fitted(self, channels: int, side: int | None = None) -> Recipe:
        """The recipe for a prior; of latents, whose encoder keeps much for the gradient, views come one by one."""
        recipe = super().fitted(channels, side)
        if not channels:
            return recipe
        return recipe.with_stages({n: replace(s, slices=max(s.slices, s.views)) for n, s in recipe.stages().items()})

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """Fewer steps go further: in `draft` the Gaussians' rates are doubled."""
        scale, rate = {"draft": (1 / 3, Ramp(2.6e-2, 5.2e-3, log=True)), "long": (3.0, RATE)}[name]
        recipe = cls()
        stages = {n: s.lasting(round(s.steps * scale)) for n, s in recipe.stages().items()}
        shape = replace(stages["shape"], optimizer=replace(ADAM, rate=rate))
        return recipe.with_stages({**stages, "shape": shape})
