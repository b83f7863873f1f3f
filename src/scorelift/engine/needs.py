"""What a step needs of a GPU, counted on a machine that need not have one.

Nothing is estimated by a formula of the networks: a step's own code is run while its tensors are counted. The prior's
part runs on tensors without memory, at full size, so neither a GPU nor weights are needed. The scene's part runs on the
CPU, at two small sizes of the picture, by the plain kernels that a GPU runs too; what it needs grows with the rays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from ..core.diffusion import Cosine, Level
from ..distill.noise import Times
from ..distill.prompts import ViewPrompts
from ..distill.sds import SDS
from ..distill.similarity import Similarity
from ..distill.twin import Twin
from ..kernels.splats import splat_tiled
from ..priors.base import Condition, Prior
from ..recipes.base import LIT, Guide, Prompting, Stage
from ..scenes import CanvasConfig, Gaussians, MeshConfig, ModelConfig, Volume, build_scene
from ..scenes.canvas import Flat
from ..scenes.fields import Field
from ..scenes.network import NetworkConfig
from .loop import Loop
from .portions import sparing_prior
from .tally import Tally, attention_without_maps


@dataclass(frozen=True)
class Work:
    """Bytes of a prior's part in a step, and its operations."""

    weights: int
    "On its device: those that rest in CPU memory are not counted."
    twin: int
    "The twin's parameters and what its optimizer keeps."
    step: int
    "Most at once beside those: encoding, denoising, back through the encoder."
    lesson: int
    "Most at once while the twin learns."
    operations: int


def prior_work(stage: Stage, prior: Prior, prompt: str, views: int, bands: int) -> Work:
    """Run the prior's part of a step, on whatever device the prior is: "meta", where nothing is computed."""
    generator = torch.Generator().manual_seed(0)
    latent = stage.latent and prior.bound is None
    cameras = stage.cameras.draw(stage.views, generator)[torch.arange(views)]
    terms = ViewPrompts(prior, prompt, **asdict(stage.prompting)).terms(cameras)
    tally = Tally(_tensors(prior))
    weights = tally.mark() - prior.resting
    config = getattr(stage.distiller, "twin", None)
    twin = Twin(prior, config, 0) if config is not None and config.kind == "lora" else None
    learned = 3 * sum(p.numel() * p.element_size() for p in twin.adapters.parameters()) if twin else 0
    if twin is not None:
        for parameter in twin.adapters.parameters():
            tally.note(parameter)
    start = tally.mark()
    channels = prior.channels if latent else 3
    picture = torch.zeros(views, channels, stage.size, stage.size, device=prior.device, requires_grad=True)
    with attention_without_maps(), tally:
        with sparing_prior(prior, bands) as asked:
            z = picture if latent else asked.encode(picture)
            level = stage.noise.draw(prior, stage.views, 0.5, generator)[torch.arange(views)]
            noise = gradient = torch.zeros_like(z)
            together = min(stage.draws, 2) if views == stage.views else 1
            if not isinstance(stage.distiller, Similarity):  # which asks no prior
                given = {} if twin is None else {"twin": twin}
                many = z.detach().repeat(together, 1, 1, 1)
                gradient = stage.distiller(
                    asked, many, terms.repeat(together), level.repeat(together), torch.zeros_like(many), **given
                ).gradient[:views]
            torch.autograd.backward([z], [gradient])
        step, lesson = tally.peak - start, 0
        once, operations = tally.operations, -(-stage.draws // together) * tally.operations
        if twin is not None:
            assert config is not None
            rest = tally.mark()
            torch.autograd.backward([twin.loss(z.detach(), terms, level, noise)])
            lesson = tally.peak - rest + learned // 3
            operations += config.steps * (tally.operations - once)
            twin.adapters.remove()
    return Work(weights, learned, step, lesson, operations)


def _tensors(prior: Prior) -> Iterable[Tensor]:
    """A prior's weights."""
    for part in (getattr(prior, "net", None), getattr(getattr(prior, "latents", None), "vae", None)):
        if isinstance(part, torch.nn.Module):
            yield from part.state_dict(keep_vars=True).values()


class _Nobody(Prior):
    """A prior that needs nothing and notes what the scene's part held until it was asked, and then."""

    name, schedule, sigma_range = "nobody", Cosine(), (0.0, float("inf"))

    def __init__(self, tally: Tally) -> None:
        self.tally, self.forward, self.before = tally, 0, 0

    def predict_x0(self, z_t: Tensor, level: Level, condition: Condition) -> Tensor:
        self.forward, self.before = self.tally.peak, self.tally.mark()
        return z_t

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        return Condition({"none": torch.zeros(len(prompts), 1)})


@dataclass(frozen=True)
class Held:
    """Bytes of a scene, its optimizer's and its renders'."""

    forward: float
    "At most while it is rendered."
    before: float
    "When the prior is asked."
    backward: float
    "At most from then to the optimizer's step."
    update: float
    "At most in that."
    after: float

    @property
    def peak(self) -> float:
        """At most in all."""
        return max(vars(self).values())

    def toward(self, other: Held, share: float) -> Held:
        """On the line through both: 0 here, 1 at the other, and beyond."""
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return Held(*(a + share * (b - a) for a, b in pairs))


ENOUGH = 200 * 2**20
"""Bytes of renders by which their growth can be told."""


def scene_bytes(stage: Stage, views: int, bands: int) -> Held:
    """Of pictures of the stage's size: grows straight with the rays; in bands, what goes back with those of a band.

    The most in a phase is the most of several things, each straight, so that what is larger in large pictures may not
    be so in small ones: pictures are therefore not too small, and going back begins with all that is held before.
    """
    flat = isinstance(stage.scene, CanvasConfig)
    pixels = stage.size**2 * (1 if flat else views / getattr(stage.cameras, "group", 1))
    small, large = _sizes(stage)

    def grown(bands: int, pixels: float) -> Held:
        near, far = (_measured(stage, size, bands) for size in (small, large))
        found = near.toward(far, (pixels - small**2) / (large**2 - small**2))
        return replace(found, backward=max(found.backward, found.before + far.backward - far.before))

    whole = grown(0, pixels)
    if not bands:
        return whole
    # A band takes what so many rays take without bands, beside what all bands leave.
    none, kept = grown(0, 0.0), grown(4, pixels)
    return replace(
        kept,
        forward=kept.before + (whole.forward - none.forward) / bands,
        backward=kept.before + none.backward - none.before + (whole.backward - none.backward) / bands,
    )


@lru_cache(maxsize=16)
def _sizes(stage: Stage) -> tuple[int, int]:
    """Two sizes of pictures, the larger at most the stage's, whose difference tells how memory grows."""
    small = 32 if isinstance(stage.scene, MeshConfig | ModelConfig) else 4
    large, first = 2 * small, _measured(stage, small, 0).before
    while 2 * large <= min(stage.size, 64) and _measured(stage, large, 0).before - first < ENOUGH:
        small, large = large, 2 * large
    return small, large


@lru_cache(maxsize=32)
def _measured(stage: Stage, size: int, bands: int) -> Held:
    """Of small pictures, on the CPU."""
    tally, config = Tally(), stage.scene
    if isinstance(config, NetworkConfig):
        config = replace(config, occupancy=0)  # at worst nothing is skipped
    scene = build_scene(config)
    views = stage.views if isinstance(scene, Flat) else getattr(stage.cameras, "group", 1)
    shading = stage.shading if stage.shading.shaded == 0 or stage.shading.normal == 1 else LIT  # what takes most
    small = replace(
        stage, size=size, views=views, draws=1, slices=1, bands=bands, noise=Times(), distiller=SDS(cfg_scale=1.0),
        shading=shading, prompting=Prompting(choice="none"), guide=Guide(),
    )  # fmt: skip
    if isinstance(scene, Volume):  # by the plain kernels
        vars(scene.field)["integrate"] = partial(Field.integrate, scene.field)
    if isinstance(scene, Gaussians):
        scene.blend = splat_tiled
    nobody, backward = _Nobody(tally), 0
    loop = Loop("plan", small, scene, nobody, "", seed=0)
    step = loop.optimizer.step

    def marked() -> None:
        nonlocal backward
        backward = tally.peak
        tally.mark()
        step()

    vars(loop.optimizer)["step"] = marked
    for tensor in scene.state_dict(keep_vars=True).values():
        tally.note(tensor)
    with tally:
        loop.one_step()  # the optimizer keeps nothing before its first
        tally.mark()
        loop.one_step()
    return Held(nobody.forward, nobody.before, backward, tally.peak, tally.now)
