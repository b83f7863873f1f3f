"""`canvas`: the same loop on a flat picture, to see what a distiller does without a third dimension.

Ref: DreamFusion Fig. 2; SJC Sec. 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from ..core.errors import bad, check_choice
from ..core.schedules import Constant
from ..distill.baselines import DiffusionLoss
from ..distill.noise import Sigmas, Times, Trajectory, annealed
from ..distill.sds import SDS
from ..distill.sjc import SJC
from ..distill.twin import TwinConfig
from ..distill.vsd import APFO, VSD
from ..scenes.canvas import CanvasConfig, Kind
from .base import UNLIT, Prompting, Recipe, Stage
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
        shading=UNLIT,
        prompting=Prompting(choice="none"),
        optimizer=Adam(rate=Constant(0.05), eps=1e-15),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.picture.scene, CanvasConfig) and self.picture.scene.pictures != self.picture.views:
            scene = replace(self.picture.scene, pictures=self.picture.views)
            object.__setattr__(self, "picture", replace(self.picture, scene=scene))

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        return cls(picture=on(cls().picture, "mirror" if name == "mirror" else "mlp"))


def on(stage: Stage, kind: Kind, generator: str | None = None) -> Stage:
    """A canvas stage on another kind of picture, with the learning rate that suits it."""
    rate = 0.005 if kind == "mlp" else 0.05
    scene = CanvasConfig(kind=kind, generator=generator, pictures=stage.views)
    return replace(stage, scene=scene, optimizer=Adam(rate=Constant(rate), eps=1e-15))


Method = Literal["sds", "sjc", "vsd", "apfo", "jacobian", "mse"]
Fall = Literal["annealed", "karras", "random"]


def study(
    distiller: Method, noise: Fall, cfg_scale: float, *,
    kind: Kind = "pixels", generator: str | None = None, pictures: int = 4, steps: int = 300, size: int = 64,
) -> CanvasRecipe:  # fmt: skip
    """The recipe with a distiller and a noise schedule to be looked at, as in SJC Sec. 5.1.

    Annealing, straight in the logarithm or on Karras' curve, starts where the embedded prior's pictures are decided.
    The score is weighed with sigma, as in the authors' code: among random noise levels the score itself would hear only
    the smallest, which say nothing about what is in a picture.
    """
    check_choice("distiller", distiller, get_args(Method))
    check_choice("noise", noise, get_args(Fall))
    if distiller == "apfo" and noise == "random":
        raise bad("noise", expected="annealed or karras for apfo, which follows a sampler's levels", got=noise)
    methods: dict[str, SDS | SJC | VSD | APFO | DiffusionLoss] = {
        "sds": SDS(cfg_scale=cfg_scale, weighting="x0"),
        "sjc": SJC(cfg_scale=cfg_scale, weighting="uniform"),
        "vsd": VSD(cfg_scale=cfg_scale),
        "apfo": APFO(cfg_scale=cfg_scale, twin=TwinConfig(along=True)),
        "jacobian": DiffusionLoss(cfg_scale=cfg_scale),
        "mse": DiffusionLoss(cfg_scale=cfg_scale, target="x0"),
    }
    noises: dict[str, Sigmas | Times] = {
        "annealed": Sigmas(high=4.0, low=0.2),
        "karras": Sigmas(high=4.0, low=0.2, curve="karras"),
        "random": Times(),
    }
    flow = Trajectory(start=1.0, end=0.0, levels=steps, curve="karras" if noise == "karras" else "time")
    stage = replace(
        CanvasRecipe().picture,
        steps=steps, size=size, views=pictures, distiller=methods[distiller],
        noise=flow if distiller == "apfo" else noises[noise],
    )  # fmt: skip
    return CanvasRecipe(picture=on(stage, kind, generator))
