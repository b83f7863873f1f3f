"""`paint`: colours for a mesh of one's own, whose shape stays as it is.

Ours, with the default for the embedded prior on two CPU cores: each lit render of the mesh follows the prior's
probability flow, told its camera (DreamFlow's texture stage, Lee et al. 2024, with each render its own twin). Light is
taken off on the way: what is kept is the albedo under which the lit mesh looks as the prior says.

`large` is for Stable Diffusion on a GPU: score distillation of colours as in Latent-NeRF (Metzer et al. 2023), Section
3.3, "Latent-Paint"; "code" is the authors' public one (`eladrich/latent-nerf`). Different here: colours, through the
encoder, where theirs are latents in a texture; a field in space, where theirs is a picture over the unwrapped surface,
so that no seam is seen in the making.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.camera_samplers import DreamFusionCameras
from ..core.errors import bad
from ..core.schedules import Constant, Ramp
from ..distill.noise import Times, Trajectory
from ..distill.sds import SDS
from ..distill.twin import TwinConfig
from ..distill.vsd import APFO
from ..scenes import HashConfig, ModelConfig, VoxelConfig
from . import small
from .base import LIT, UNLIT, Finish, Prompting, Recipe, Stage
from .optimizers import Adam, AdamW

CAMERAS = DreamFusionCameras(  # code: distance 1 to 1.5 of a mesh of radius .6, fov 40 to 70; our radius is .8
    distance=(1.6, 2.4), focal=(0.714, 1.374), elevation_deg=(-30.0, 90.0), even_area_share=0.0, position_jitter=0.0,
    target_std=0.0, up_std=0.0,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Paint(Recipe):
    """One stage: the colours of a given mesh."""

    name: ClassVar[str] = "paint"
    summary: ClassVar[str] = "colours for a mesh of your own: scorelift paint MESH PROMPT"
    presets: ClassVar[dict[str, str]] = {"large": "for Stable Diffusion on a GPU: 5,000 steps at 512 x 512"}

    finish: Finish = Finish(texture=1024)

    colours: Stage = Stage(
        steps=300,
        scene=ModelConfig(paint=VoxelConfig(resolution=56, shape="box")),
        size=64,
        noise=Trajectory(start=0.9, end=0.25, levels=300),
        distiller=APFO(cfg_scale=5.0, twin=TwinConfig(kind="identity")),
        cameras=small.CAMERAS,
        shading=LIT,
        backdrops=small.BACKDROPS,
        prompting=small.CAMERA,
        optimizer=Adam(rate=Ramp(0.1, 0.02, log=True), betas=(0.9, 0.999), eps=1e-15),
    )

    def of(self, mesh: str) -> Paint:
        """The recipe for the mesh of a file."""
        scene = self.colours.scene
        if not isinstance(scene, ModelConfig):
            raise bad("colours.scene", expected="a ModelConfig, which holds a mesh", got=type(scene).__name__)
        return replace(self, colours=replace(self.colours, scene=replace(scene, mesh=mesh)))

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        full = cls()
        colours = replace(
            full.colours,
            steps=5000,  # code
            scene=ModelConfig(paint=HashConfig()),  # ours
            size=512,  # theirs: 64 latents
            noise=Times(low=Constant(0.02), high=Constant(0.98)),  # code
            distiller=SDS(cfg_scale=100.0, weighting="sigma2"),  # code: 100
            cameras=CAMERAS,
            shading=UNLIT,  # code
            prompting=Prompting(choice="bare", overhead_deg=60.0),  # code
            optimizer=AdamW(rate=Constant(1e-2), weight_decay=0.0),  # code: Adam, 1e-2
        )
        return cls(prior="sd21-base", finish=Finish(texture=2048, preview_size=256), colours=colours)
