"""What a run will need of a GPU, before it starts, and what would make it fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from ..core.errors import ScoreliftError
from ..priors.base import Prior
from ..priors.options import computes_bf16
from ..priors.registry import WITHIN, sketch_prior
from ..recipes import Recipe
from ..recipes.base import Stage
from ..scenes import CanvasConfig, MeshConfig, ModelConfig
from .needs import prior_work, scene_bytes
from .portions import Portions

GIB = 2**30
CONTEXT = int(0.6 * GIB)
"""What a process takes of a card before its first tensor, about."""
SLACK = 1.1
"""What an allocator and libraries add to tensors, about: a rule of thumb, not measured here."""


@dataclass(frozen=True)
class Need:
    """Bytes a stage takes of a card, in one way to share out its steps."""

    weights: int
    "Of denoiser and autoencoder."
    scene: int
    "Its parameters, what its optimizer keeps, and what a render keeps for its gradient."
    prior: int
    "Of the prior's work beside those: what its encoder keeps, and its activations."
    peak: int
    "Most tensors at once, in a step."
    reading: int
    "Most at once while a new prompt is read, before the first step."
    operations: int
    "Of the prior in a step: a multiplication and an addition count as two."

    @property
    def room(self) -> int:
        """Free bytes of a card that hold its steps."""
        return int(self.peak * SLACK)


@dataclass(frozen=True)
class StagePlan:
    """What a stage needs."""

    name: str
    stage: Stage
    prior: Prior
    "Without its numbers."
    text: int
    "Bytes of the encoders that read its prompts."
    prompt: str = ""

    @property
    def groups(self) -> int:
        """Parts that a step's views can be taken in at most."""
        return 1 if isinstance(self.stage.scene, CanvasConfig) else max(self.stage.views // self.prior.views, 1)

    @cached_property
    def ladder(self) -> list[Portions]:
        """Ways to share out a step: as the recipe has it, then those tried when memory runs out."""
        rays = not isinstance(self.stage.scene, CanvasConfig | MeshConfig | ModelConfig)
        found = [Portions(self.stage.slices, self.stage.bands)]
        while (after := found[-1].smaller(self.groups, rays=rays)) is not None:
            found.append(after)
        return found

    @torch.random.fork_rng(devices=[])
    def need(self, portions: Portions) -> Need:
        """With steps that are shared out.

        Raises:
            ScoreliftError: if scene and prior do not go together.
        """
        slices = min(portions.slices, self.groups)
        views = -(-self.groups // slices) * (self.stage.views // self.groups)
        try:
            work = prior_work(self.stage, self.prior, self.prompt, views, portions.bands)
            held = scene_bytes(self.stage, views, portions.bands)
        except RuntimeError as error:
            told = str(error).splitlines()[0]
            raise ScoreliftError(f"plan: stage {self.name} cannot be run with {self.prior.name} ({told}).") from error
        beside = max(held.before + work.step, held.peak, held.after + work.lesson)
        return Need(
            weights=work.weights, scene=int(held.before), prior=work.step,
            peak=work.weights + work.twin + int(beside),
            reading=work.weights + self.text if self.text else 0,
            operations=work.operations * slices,
        )  # fmt: skip

    @cached_property
    def whole(self) -> Need:
        """As the recipe has it."""
        return self.need(self.ladder[0])

    @cached_property
    def least(self) -> Need:
        """In the smallest portions."""
        return self.need(self.ladder[-1])


@torch.random.fork_rng(devices=[])
def plan(recipe: Recipe, prompt: str = "") -> list[StagePlan]:
    """What each stage of a recipe will need of a GPU.

    Args:
        recipe: with a prior on this machine, of which configurations are read, and no weights.
        prompt: one that the prior can read; what it says makes no difference.

    Raises:
        ScoreliftError: for a prior that is not on this machine or not understood.
    """
    own = sketch_prior(recipe.prior, recipe.model)
    recipe = recipe.fitted(own[0].channels if own[0].bound is None else 0, own[0].sizes[0])
    found = []
    for name, stage in recipe.stages().items():
        prior, text = own if stage.prior is None else sketch_prior(stage.prior, recipe.model.plain())
        found.append(StagePlan(name, stage, prior, text, prompt))
    return found


def free_of(vram: float | None) -> int | None:
    """Bytes for tensors on a card of so many GiB, or free on the card at hand; None where there is none."""
    if vram is not None:
        return int(vram * GIB) - CONTEXT
    return torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None


def shortage(stages: Sequence[StagePlan], recipe: Recipe, free: int) -> str | None:
    """What a card cannot hold and what would help, for people; None if all fits.

    Args:
        free: bytes of the card that a run may take.
    """
    said = []
    for stage in stages:
        if stage.whole.room <= free:
            continue
        need, where = gib(stage.whole.room), f"of the GPU, where {gib(free)} are free"
        text = f"stage {stage.name} is expected to need {need} {where}"
        spare = 0 if recipe.model.compile else int(stage.prior.can_rest * SLACK)
        found = _fitting(stage, free, spare)
        if found is None:
            helps = options(recipe, stage.name, stage.stage)
            if spare:
                helps = [f"--model.offload ({gib(spare)} of weights stay in CPU memory; slower)", *helps]
            said.append(f"{text}, and {gib(stage.least.room)} in the smallest portions. What needs less: "
                        f"{', '.join(helps)}.")  # fmt: skip
        else:
            fits, room = found
            offload = "--model.offload " if stage.need(fits).room > free else ""
            slices = f"--{stage.name}.slices {fits.slices} " if fits.slices != stage.stage.slices else ""
            bands = f"--{stage.name}.bands {fits.bands} " if fits.bands != stage.stage.bands else ""
            said.append(f"{text}. With {offload}{slices}{bands}it needs {gib(room)}, with the same result, slower; a "
                        "run comes to that by itself when memory runs out.")  # fmt: skip
    reading = max(stage.whole.reading for stage in stages)
    if reading * SLACK > free:
        eight = "" if recipe.model.text_bits else ", and less is needed with --model.text-bits 8"
        said.append(f"reading the prompt is expected to need {gib(reading)}; where that does not fit the CPU reads it, "
                    f"or at once with --model.text-device cpu{eight}.")  # fmt: skip
    return "memory: " + " ".join(said) if said else None


def _fitting(stage: StagePlan, free: int, spare: int) -> tuple[Portions, int] | None:
    """A way that a card holds, and the free bytes it takes: smaller portions, else with the weights in CPU memory.

    Args:
        spare: what the card then need not hold; 0 where that cannot be.
    """
    for portions in stage.ladder[1:]:
        if (room := stage.need(portions).room) <= free:
            return portions, room
    for portions, need in ((stage.ladder[0], stage.whole), (stage.ladder[-1], stage.least)):
        if spare and need.room - spare <= free:
            return portions, need.room - spare
    return None


def exhausted(what: str, recipe: Recipe, name: str, stage: Stage, error: torch.OutOfMemoryError) -> ScoreliftError:
    """The error of something that no portion makes small enough."""
    told = ". ".join(str(error).split(". ")[:2]).rstrip(".")
    helps = ", ".join(options(recipe, name, stage))
    return ScoreliftError(
        f"memory: {what} does not fit ({told}). What needs less: {helps}. `scorelift plan` counts it beforehand."
    )


def options(recipe: Recipe, name: str, stage: Stage) -> list[str]:
    """What a person can change so that a stage needs less, the mildest first."""
    scene, found = stage.scene, []
    able = not torch.cuda.is_available() or computes_bf16()
    if able and recipe.model.precision in ("auto", "fp16", "fp32") and recipe.prior not in WITHIN:
        found.append("--model.precision bf16 (half of fp32; the autoencoder stays fp32 under fp16)")
    if recipe.model.compile:
        found.append("--model.offload in place of --model.compile")
    if not stage.latent and stage.size > 32:
        found.append(f"--{name}.size {stage.size // 2}")
    if samples := getattr(scene, "coarse_samples", 0):
        found.append(f"--{name}.scene.coarse-samples {samples // 2}")
    if resolution := getattr(scene, "resolution", 0):
        found.append(f"--{name}.scene.resolution {resolution // 2}")
    return [*found, "a prior with smaller pictures or fewer weights (`scorelift priors`)"]


def gib(count: int) -> str:
    """Bytes for people."""
    return f"{count / GIB:.1f} GiB"
