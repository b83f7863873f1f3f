"""What is said of a recipe and a prior before a run begins: what may not be as its user thinks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import torch

from ..core.config import leaves, option_of
from ..core.errors import ScoreliftError
from ..distill.sds import SDS
from ..distill.similarity import Similarity
from ..distill.vsd import APFO, VSD
from ..priors.base import Prior
from ..priors.registry import WITHIN
from ..priors.toybox import ToyPrior
from ..recipes import Recipe
from ..recipes.base import Stage
from ..scenes import MeshConfig, VoxelConfig
from ..scenes.network import NetworkConfig
from ..toybox.grammar import parse
from .plan import plan as planned
from .plan import shortage

FARTHER = 0.15
"How much later than it was trained a prior may be asked without a word: DreamFlow has its refiner at .3, not .2."


def remarks(recipe: Recipe, fitted: Recipe, prior: Prior, prompt: str) -> list[str]:
    """All of them.

    Args:
        recipe: as it was asked for.
        fitted: as the prior makes it.
    """
    found = (unseen(prior, prompt), guidance(recipe, prior), beyond(recipe, prior), resized(recipe, fitted, prior))
    return [*idle(fitted), *(text for text in found if text is not None)]


IDLE: tuple[tuple[str, str, Callable[[Stage], bool]], ...] = (
    ("lights.", "nothing is lit in this stage (shading.shaded is 0)",
     lambda stage: stage.shading.shaded == 0),
    ("distiller.twin.", "this twin learns nothing (distiller.twin.kind)",
     lambda stage: isinstance(stage.distiller, VSD | APFO) and stage.distiller.twin.kind != "lora"),
    ("scene.paint_rate", "colours stay as they are in this stage (scene.tuned)",
     lambda stage: isinstance(stage.scene, MeshConfig) and stage.scene.tuned == "geometry"),
    ("scene.flow", "the shape stays as it is in this stage (scene.tuned)",
     lambda stage: isinstance(stage.scene, MeshConfig) and stage.scene.tuned == "texture"),
    ("penalties.orientation", "nothing has normals in this stage (shading.shaded, scene.oriented)",
     lambda stage: isinstance(stage.scene, VoxelConfig | NetworkConfig) and stage.shading.shaded == 0
     and not getattr(stage.scene, "oriented", False)),
    ("distiller.view_scale", "no view is said (prompting.choice)",
     lambda stage: stage.prompting.choice == "none"),
    ("backdrops.", "the scene learns its own background (scene.environment)",
     lambda stage: getattr(stage.scene, "environment", False)),
    ("scene.environment_", "the scene has no background of its own (scene.environment)",
     lambda stage: not getattr(stage.scene, "environment", True)),
    ("guide.", "there is no mesh to be led by (guide.path)",
     lambda stage: stage.guide.path is None),
)  # fmt: skip
"Options that a stage does not heed: how their names begin, why, and when."


def idle(recipe: Recipe) -> list[str]:
    """Options that were chosen, for no preset has them so, and have no effect."""
    usual = [preset.stages() for preset in (type(recipe)(), *map(type(recipe).preset, type(recipe).presets))]
    found = []
    for name, stage in recipe.stages().items():
        known = [leaves(stages[name]) for stages in usual if name in stages]
        for start, why, holds in IDLE:
            chosen = {
                leaf: value for leaf, value in leaves(stage).items()
                if leaf.startswith(start) and all(other.get(leaf, value) != value for other in known)
            }  # fmt: skip
            found += [f"--{option_of(f'{name}.{leaf}')} has no effect: {why}." for leaf in chosen if holds(stage)]
    return found


def unseen(prior: Prior, prompt: str) -> str | None:
    """What of a prompt's words, all known, makes no toy of the closed world; None of another world's prior."""
    if isinstance(prior, ToyPrior):
        try:
            parse(prompt)
        except ScoreliftError as error:
            return f"{error} {prior.name} has seen nothing of the kind: what it makes of it is a guess."
    return None


def guidance(recipe: Recipe, prior: Prior) -> str | None:
    """Which stages of score distillation have less than half or over twice the guidance that the prior is known for.

    They keep it: a recipe is its paper's numbers, with any prior. None if there are none.
    """
    if (usual := prior.guidance) is None:
        return None
    found = []
    for name, stage in recipe.stages().items():
        if stage.prior is None and isinstance(stage.distiller, SDS):
            scale = stage.distiller.cfg_scale
            if not usual / 2 <= scale <= usual * 2:
                found.append(f"stage {name} has {scale:g} (--{name}.distiller.cfg-scale {usual:g} changes it)")
    own = f"guidance: public implementations of score distillation with {prior.name} have {usual:g}"
    return f"{own}, {', '.join(found)}." if found else None


def resized(recipe: Recipe, fitted: Recipe, prior: Prior) -> str | None:
    """Which stages render latents of the prior's size where the recipe has another; None if there are none."""
    found = []
    for (name, old), new in zip(recipe.stages().items(), fitted.stages().values(), strict=True):
        if new.size != old.size:
            found.append(f"stage {name} renders {new.size} x {new.size} latents (the recipe: {old.size} x {old.size})")
    return f"{', '.join(found)}, as {prior.name} was trained." if found else None


def beyond(recipe: Recipe, prior: Prior) -> str | None:
    """Which stages ask a prior of little noise about much more of it; None if there are none."""
    if prior.trained_until >= 1:
        return None
    found = []
    for name, stage in recipe.stages().items():
        if stage.prior is None and not isinstance(stage.distiller, Similarity):
            levels = stage.noise.draw(prior, 64, 0.0, torch.Generator().manual_seed(0))
            latest = float(prior.schedule.time(levels.sigma_ve).max())
            if latest > prior.trained_until + FARTHER:
                found.append(f"stage {name} asks it up to {latest:.2f}")
    known = f"noise: {prior.name} was trained at times up to {prior.trained_until:g}, to refine pictures that are there"
    return f"{known}; {', '.join(found)}, where it guesses." if found else None


def foretold(recipe: Recipe, prompt: str) -> str | None:
    """What the card at hand will not hold, as far as can be told; what is wrong with the prior, loading it says.

    Counting takes seconds, which the embedded priors' small runs do without.
    """
    priors = {recipe.prior, *(stage.prior for stage in recipe.stages().values())}
    if priors <= {*WITHIN, None}:
        return None
    with suppress(ScoreliftError, RuntimeError):
        return shortage(planned(recipe, prompt), recipe, torch.cuda.mem_get_info()[0])
    return None
