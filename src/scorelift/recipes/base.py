"""What a recipe is: named stages, each a scene, a way to look at it, a distiller and an optimizer."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import ClassVar

from ..core.backdrops import TextureSampler
from ..core.camera_samplers import (
    FRAME,
    DreamFusionCameras,
    HemisphereSampler,
    OrbitSampler,
    RingSampler,
    ring,
)
from ..core.cameras import Cameras
from ..core.config import check_numbers
from ..core.errors import bad, check_choice, check_positive, check_range, check_seed
from ..core.samplers import BackdropSampler, DreamFusionLights, LightSampler, ShadingSampler
from ..core.schedules import Constant, Ramp, Schedule
from ..distill.baselines import DiffusionLoss
from ..distill.noise import Noise, Times, Trajectory
from ..distill.prompts import Choice, Place
from ..distill.redraw import Redraw
from ..distill.sds import SDS
from ..distill.similarity import Similarity
from ..distill.sjc import SJC
from ..distill.vsd import APFO, VSD
from ..priors.options import ModelOptions
from ..scenes import SceneConfig, VoxelConfig
from .optimizers import Adam, Optimizer

UNLIT = ShadingSampler(shaded=0.0)
LIT = ShadingSampler(albedo_until=0.0, shaded=1.0, textureless=0.0)
NORMALS = ShadingSampler(albedo_until=0.0, shaded=1.0, textureless=0.0, normal=1.0)
"""What a stage may always show: plain colours, lit colours, normals."""


@dataclass(frozen=True, kw_only=True)
class Penalties:
    """Weights of the regularizers, relative to the distiller's gradient."""

    opacity: Schedule = Constant(0.0)
    emptiness: Schedule = Constant(0.0)
    entropy: Schedule = Constant(0.0)
    orientation: Schedule = Constant(0.0)
    roughness: Schedule = Constant(0.0)
    bending: Schedule = Constant(0.0)
    unevenness: Schedule = Constant(0.0)
    centre_depth: Schedule = Constant(0.0)
    transmittance: Schedule = Constant(0.0)
    transmittance_target: Schedule = Ramp(0.4, 0.88)
    "Share of the picture that is to stay empty."


@dataclass(frozen=True, kw_only=True)
class Prompting:
    """How the prompt is said for each camera."""

    choice: Choice = "nearest"
    """View phrases: the nearest the prior knows, neighbours interpolated, only front, side, back and overhead, or none.
    Or the camera itself, if the prior can be told it, else the nearest phrase."""
    place: Place = "after"
    'Where the phrase stands: "a duck, front view" or "front view of a duck".'
    overhead_deg: float | None = None
    "Elevation from which a view is an overhead one; None: the prior's."
    negative: str = ""


@dataclass(frozen=True, kw_only=True)
class Guide:
    """A coarse mesh that says where a scene is to be dense; the nearer to its surface, the less it insists.

    Ref: Latent-NeRF (Metzer et al. 2023), Section 3.2, "Sketch-Shape Guidance".
    """

    path: str | None = None
    "The mesh: closed, or several such; GLB, OBJ, PLY, STL or OFF, +y up and front +z, as exports are. None: no guide."
    weight: Schedule = Constant(10.0)
    "Of its loss, beside the distiller's gradient."
    sigma: float = 0.25
    "How far from its surface it begins to insist, in the scene's units."
    radius: float | None = 0.8
    "It is centred, and scaled to reach so far from the origin; None: it is taken as it is."

    def __post_init__(self) -> None:
        check_positive("guide.sigma", self.sigma)
        if self.radius is not None:
            check_range("guide.radius", self.radius, 0.05, 1.0)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One optimization from one scene to the next."""

    steps: int
    scene: SceneConfig
    size: int = 64
    "Height and width of the renders the prior sees."
    prior: str | None = None
    "Another prior than the recipe's, for this stage alone."
    latent: bool = False
    "Render in the space of a latent prior instead of colours, with no encoder in the loop."
    views: int = 1
    "Cameras a step."
    draws: int = 1
    "Noise draws a camera: one render, so many estimates of its gradient, averaged; draws come in opposite pairs."
    slices: int = 1
    "Parts the cameras are taken in, one after the other, as far as there are so many: less memory, the same gradient."
    bands: int = 0
    "Parts a render's rays are taken in, each computed again for its gradient; the prior spares memory too. 0: none."
    noise: Noise = Times()
    distiller: SDS | SJC | VSD | APFO | Redraw | DiffusionLoss | Similarity = SDS()
    cameras: OrbitSampler | DreamFusionCameras | HemisphereSampler | RingSampler = OrbitSampler()
    lights: LightSampler | DreamFusionLights = LightSampler()
    shading: ShadingSampler = ShadingSampler()
    backdrops: BackdropSampler | TextureSampler = BackdropSampler()
    prompting: Prompting = Prompting()
    penalties: Penalties = Penalties()
    guide: Guide = Guide()
    optimizer: Optimizer = Adam()

    def __post_init__(self) -> None:
        for name in ("steps", "size", "views", "draws", "slices"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise bad(name, expected="a whole number of at least 1", got=value)
        if not isinstance(self.bands, int) or self.bands < 0:
            raise bad("bands", expected="a whole number of at least 0", got=self.bands)
        check_numbers(self)
        if isinstance(self.noise, Trajectory) and self.noise.levels > self.steps:
            raise bad("noise.levels", expected=f"at most the stage's steps, {self.steps}, so that none is left out",
                      got=self.noise.levels,
                      remedy="Lower it too, or set all stages' steps (--steps), which scales it along.")  # fmt: skip

    def lasting(self, steps: int) -> Stage:
        """The stage with so many steps; a trajectory keeps its steps a level, as far as it can."""
        noise = self.noise
        if isinstance(noise, Trajectory):
            noise = dataclasses.replace(noise, levels=max(1, round(noise.levels * steps / self.steps)))
        return dataclasses.replace(self, steps=steps, noise=noise)


FINISHES: dict[str, tuple[float, float]] = {
    "density": (1e-4, 1e4), "mesh_resolution": (8, 1024), "faces": (4, 10_000_000), "texture": (16, 8192),
    "turntable_frames": (1, 10_000), "turntable_size": (16, 4096), "preview_size": (16, 2048),
    "distance": (0.1, 1000), "fov_deg": (1, 170),
}  # fmt: skip
"Between which these make files that can be made: what would fail at the end is told at the start."


@dataclass(frozen=True, kw_only=True)
class Finish:
    """What is made of the optimized scene."""

    mesh_resolution: int = 112
    "Grid on which the surface is extracted."
    faces: int = 8000
    "The mesh is simplified to about this many triangles."
    density: float | None = None
    "At which a field, or Gaussians, have their surface; None: where half of the light is stopped."
    texture: int = 512
    "Height and width of the baked albedo."
    turntable_frames: int = 48
    turntable_size: int = 160
    preview_size: int = 128
    distance: float = 3.0
    "From the origin, of the cameras that take pictures for people."
    fov_deg: float | None = None
    "Their field of view; None: one in which the unit ball is seen whole."
    every_stage: bool = False
    "Whether each stage leaves its own preview and asset, in `stages/`."

    def __post_init__(self) -> None:
        for name, (low, high) in FINISHES.items():
            if (value := getattr(self, name)) is not None:
                check_range(f"finish.{name}", value, low, high)
        if self.turntable_size % 2:
            raise bad("finish.turntable_size", expected="an even number, as videos have", got=self.turntable_size)

    def ring(self, views: int, elevation_deg: float = 15.0, zoom: float = 1.0) -> Cameras:
        """Cameras for pictures, evenly around, from the front on; `zoom` enlarges, if there is no field of view."""
        return ring(views, elevation_deg, FRAME * zoom, distance=self.distance, fov_deg=self.fov_deg)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A named method. Subclasses add their stages as fields, in order, with the paper's numbers as defaults."""

    name: ClassVar[str] = ""
    summary: ClassVar[str] = ""
    presets: ClassVar[dict[str, str]] = {}
    "Names of presets and what each is for; `preset(name)` returns one."
    parts: ClassVar[dict[str, str]] = {}
    "Other names for `until`: a part of several stages, and the last of them."

    prior: str = "toybox"
    "A prior's name, a diffusers model's folder or hub id, or a weights file."
    model: ModelOptions = ModelOptions()
    "How a diffusers model is loaded and run."
    seed: int = 0
    until: str | None = None
    "The last stage to run; None: all. `--resume` with a later one goes on from there."
    finish: Finish = field(default_factory=Finish)

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.until is not None:
            check_choice("until", self.until, [*self._all(), *self.parts])
            object.__setattr__(self, "until", self.parts.get(self.until, self.until))

    def _all(self) -> dict[str, Stage]:
        values = {spec.name: getattr(self, spec.name) for spec in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Stage)}

    def stages(self) -> dict[str, Stage]:
        """The stages to run by field name, in order."""
        stages = self._all()
        last = list(stages).index(self.until) if self.until else len(stages)
        return dict(list(stages.items())[: last + 1])

    def with_steps(self, steps: int) -> Recipe:
        """The recipe with `steps` steps in every stage, after `until` too; schedules scale along."""
        return self.with_stages({n: s.lasting(steps) for n, s in self._all().items()})

    def with_stages(self, stages: dict[str, Stage]) -> Recipe:
        """The recipe with some of its stages replaced."""
        return dataclasses.replace(self, **stages)  # type: ignore[arg-type]

    def fitted(self, channels: int, side: int | None = None) -> Recipe:
        """The recipe for a latent prior of so many channels (0: of pixels): stages that ask for it render latents.

        Args:
            side: of the latents the prior was trained at, which those stages render then; None: as they are.

        Raises:
            ScoreliftError: for a scene that cannot, or one of other channels.
        """
        stages = {}
        for name, stage in self._all().items():
            if stage.prior is not None:
                continue
            check_channels(name, stage.scene, channels)
            if not (channels and (stage.latent or getattr(stage.scene, "latent", 0))):
                continue
            if not (isinstance(stage.scene, VoxelConfig) and stage.shading.shaded == 0):
                raise bad(f"{name}.latent", expected="unlit voxels", got="another scene")
            scene = dataclasses.replace(stage.scene, latent=channels, environment=True)  # backdrops are colours
            stages[name] = dataclasses.replace(stage, scene=scene, size=side or stage.size)
        return self.with_stages(stages)

    @classmethod
    def preset(cls, name: str) -> Recipe:
        """A preset of this recipe.

        Raises:
            ScoreliftError: if there is none of that name.
        """
        if name not in cls.presets:
            raise bad(
                "preset", expected=f"one of {', '.join(cls.presets) or 'none: this recipe has no presets'}", got=name
            )
        return cls._preset(name)

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        raise NotImplementedError


def check_channels(stage: str, scene: SceneConfig, channels: int) -> None:
    """Raise if a scene of latents has others than a latent prior's (0 channels: a prior of pixels)."""
    if (latent := getattr(scene, "latent", 0)) not in (0, channels):
        knows = f"{channels}, the channels of the prior's latents" if channels else "0, for the prior works on pixels"
        raise bad(f"{stage}.scene.latent", expected=knows, got=latent,
                  remedy=f"Leave it out: with --{stage}.latent it is set by the prior.")  # fmt: skip
