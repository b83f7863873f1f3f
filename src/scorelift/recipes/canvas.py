"""`canvas`: the same loop on a flat picture, to see what a distiller does without a third dimension.

Ref: DreamFusion Fig. 2; SJC Sec. 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.samplers import ShadingSampler
from ..core.schedules import Constant
from ..distill.noise import annealed
from ..distill.sds import SDS
from ..scenes.canvas import CanvasConfig
from .base import Prompting, Recipe, Stage
from .optimizers import Adam


@dataclass(frozen=True, kw_only=True)
class CanvasRecipe(Recipe):
    """One stage on free pixels."""

    name: ClassVar[str] = "canvas"
    summary: ClassVar[str] = "a flat picture instead of a scene: pixels, a mirrored image or a small network"
    presets: ClassVar[dict[str, str]] = {
        "mirror": "the right half mirrors the left (DreamFusion, Figure 2)",
        "mlp": "a small network from coordinates to colours",
    }

    picture: Stage = Stage(
        steps=300,
        scene=CanvasConfig(),
        views=4,
        noise=annealed(0.92, 0.4, 0.05),
        distiller=SDS(cfg_scale=3.0, weighting="x0"),
        shading=ShadingSampler(shaded=0.0),
        prompting=Prompting(choice="none"),
        optimizer=Adam(rate=Constant(0.03)),
    )

    def __post_init__(self) -> None:
        if isinstance(self.picture.scene, CanvasConfig) and self.picture.scene.pictures != self.picture.views:
            scene = CanvasConfig(**{**self.picture.scene.__dict__, "pictures": self.picture.views})
            object.__setattr__(self, "picture", Stage(**{**self.picture.__dict__, "scene": scene}))

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        base = cls().picture
        scene = CanvasConfig(kind="mirror" if name == "mirror" else "mlp", pictures=base.views)
        rate = 0.03 if name == "mirror" else 0.005
        return cls(picture=Stage(**{**base.__dict__, "scene": scene, "optimizer": Adam(rate=Constant(rate))}))
