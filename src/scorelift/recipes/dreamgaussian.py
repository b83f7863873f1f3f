"""`dreamgaussian`: score distillation into Gaussians, their surface as a mesh, its texture redrawn.

Ref: Tang et al., "DreamGaussian: generative Gaussian splatting for efficient 3D content creation" (2023). "code" is its
public configuration for text. Its renders grow within one stage, 128, 256, 512 pixels: here these are three stages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.camera_samplers import OrbitSampler
from ..core.samplers import BackdropSampler
from ..core.schedules import Constant, Ramp
from ..distill.noise import annealed
from ..distill.redraw import Redraw
from ..distill.sds import SDS
from ..scenes import GaussianConfig, MeshConfig, VoxelConfig
from . import small
from .base import UNLIT, Finish, Penalties, Recipe, Stage
from .optimizers import Adam

CLOUD = GaussianConfig(
    count=1000,  # code
    most=20_000,  # ours: theirs have no bound
    radius=0.5,  # code
    opacity=0.1,  # code
    looks=3,  # code: every 50 steps
    growth=0.4,  # ours: theirs part where gradients are above a threshold, which depends on how losses are scaled
)
"Rates of places, shapes, opacities and colours as in the code: 1e-2 (falling), 5e-3, 5e-2, 1e-2."
PAINT = VoxelConfig(resolution=192, shape="box")
"Ours: what the surface shows stays a grid until it is baked, so that its gradients need no unwrapping."
CAMERAS = OrbitSampler(
    elevation_deg=(-30.0, 30.0), high_share=0.0, distance=(2.5, 2.5), fill=(0.74, 0.74), target_std=0.0
)  # fmt: skip
"Code: radius 2.5, field of view 49.1 degrees (in which a ball of .8 fills .74 of the picture), within 30 of level."
BACKDROPS = BackdropSampler(grey=(0.0, 1.0), tint=0.0, gradient=0.0)  # code: black or white; ours: any grey
CHOSEN = Adam(betas=(0.9, 0.999), eps=1e-15)  # code


def _falling(start: float, end: float) -> Adam:
    """Code: the places' rate alone falls, to a fiftieth over all three stages; ours: all rates, to a fifth."""
    return replace(CHOSEN, rate=Ramp(start, end, log=True))


@dataclass(frozen=True, kw_only=True)
class DreamGaussian(Recipe):
    """`coarse`, `middle`, `fine`: Gaussians, at three sizes; `texture`: their surface, painted."""

    name: ClassVar[str] = "dreamgaussian"
    summary: ClassVar[str] = "SDS into Gaussians, then a mesh with its texture redrawn, as its paper describes"
    presets: ClassVar[dict[str, str]] = {"small": "scaled down to half a minute on two CPU cores"}
    parts: ClassVar[dict[str, str]] = {"gaussians": "fine"}

    prior: str = "sd21-base"  # code
    finish: Finish = Finish(mesh_resolution=192, faces=50_000, texture=1024, preview_size=256, every_stage=True)

    coarse: Stage = Stage(
        steps=150,  # code: 500 in all; renders grow at 30 % and at 60 %
        scene=CLOUD,
        size=128,  # code
        noise=annealed(0.97, 0.69, 0.02),  # code: one time a step, falling straight from .98 to .02
        distiller=SDS(cfg_scale=100.0, weighting="sigma2"),  # code
        cameras=CAMERAS,
        shading=UNLIT,
        backdrops=BACKDROPS,
        optimizer=_falling(1e-2, 6e-3),
    )
    middle: Stage = replace(coarse, size=256, noise=annealed(0.69, 0.4, 0.02), optimizer=_falling(6e-3, 4e-3))
    fine: Stage = replace(
        coarse, steps=200, scene=replace(CLOUD, looks=4), size=512, noise=annealed(0.4, 0.03, 0.02),
        optimizer=_falling(4e-3, 2e-3),
    )  # fmt: skip
    texture: Stage = Stage(
        steps=50,  # code
        scene=MeshConfig(resolution=96, paint=PAINT, tuned="texture"),  # their surface is by marching cubes
        size=512,  # code
        noise=annealed(0.18, 0.04, 0.01),  # code: the last tenth, later the last three, of fifty DDIM steps
        distiller=Redraw(cfg_scale=100.0, steps=10),  # Eq. 5; code: cfg 100
        cameras=CAMERAS,
        shading=UNLIT,
        backdrops=BACKDROPS,
        optimizer=replace(CHOSEN, rate=Constant(0.2)),  # code
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """What `small` scales: at most 20,000 Gaussians -> 3,000; 128, 256, 512 pixels -> 32, 32, 64; 150 + 150 + 200
        + 50 steps -> 300 + 200 + 200 + 40; cfg 100 -> 15; times .98 to .02 -> .95 to .25, each a draw from a window;
        ten steps of redrawing from .18 to .04 at cfg 100 -> four from .3 to .2 at 6.5, for colours alone. Opacity has a
        price, or toys outgrow the frame. As the embedded prior likes it: its own cameras and backdrops.
        """
        full, cloud = cls(), replace(CLOUD, count=600, most=3000, looks=6)
        sds, price = SDS(cfg_scale=15.0), Penalties(opacity=Constant(0.01))
        scaled = {
            "coarse": replace(full.coarse, steps=300, size=32, noise=annealed(0.85, 0.6, 0.2)),
            "middle": replace(full.middle, steps=200, size=32, noise=annealed(0.6, 0.5, 0.2)),
            "fine": replace(full.fine, steps=200, size=64, noise=annealed(0.5, 0.3)),
        }
        clouds = {k: replace(s, scene=cloud, distiller=sds, penalties=price) for k, s in scaled.items()}
        texture = replace(
            full.texture, scene=replace(small.MESH, paint=replace(PAINT, resolution=112), tuned="texture"),
            steps=40, size=64, noise=annealed(0.3, 0.2, 0.01), distiller=Redraw(cfg_scale=6.5, steps=4),
            optimizer=replace(CHOSEN, rate=Ramp(0.02, 0.005)),
        )  # fmt: skip
        return small.toylike(cls().with_stages({**clouds, "texture": texture}))
