"""What the stages of a run ask of each other and of their priors: told before the first step."""

from __future__ import annotations

from itertools import pairwise

import torch

from ..core.errors import ScoreliftError, within
from ..distill.similarity import Similarity
from ..priors.base import Prior
from ..priors.registry import SUFFIX, WITHIN, check_there, sketch_prior
from ..recipes import Recipe
from ..recipes.base import Stage
from ..scenes import MeshConfig
from ..scenes.follow import check_follows
from ..scenes.tetrahedra import check_grid
from .guide import check_meshes


def check_stages(recipe: Recipe, prior: Prior, prompt: str) -> None:
    """Raise for a stage that could not start, or take its first step, when the stages before it are done.

    Args:
        prior: the recipe's. Of other stages' priors the embedded ones are asked the same; of diffusers models, of which
            configurations alone are read here, also the prompt is left to the stage.
    """
    check_chain(recipe)
    for name, stage in recipe.stages().items():
        check_stage(name, stage)
        model = prior
        if stage.prior not in (None, recipe.prior):
            check_there(stage.prior)
            model, _ = sketch_prior(stage.prior, recipe.model.plain())
            if small(stage.prior):
                model.check_prompt(prompt)
        check_asked(model, name, stage)


def small(name: str) -> bool:
    """Whether a prior is an embedded one, or trained as those are: loaded in a moment."""
    return name in WITHIN or name.endswith(SUFFIX)


def check_stage(name: str, stage: Stage) -> None:
    """Raise for a mesh that cannot be used, or a lattice that memory does not hold."""
    check_meshes(stage)
    if isinstance(stage.scene, MeshConfig):
        with within(f"{name}.scene"):
            check_grid(stage.scene.resolution)


def check_chain(recipe: Recipe) -> None:
    """Raise for a stage that cannot begin where the one before will end."""
    for (before, first), (name, stage) in pairwise(recipe.stages().items()):
        check_follows(stage.scene, first.scene, f"{name}.scene", f"in stage {before}")


def check_asked(prior: Prior, name: str, stage: Stage) -> None:
    """Raise for what a stage asks of its prior in vain: a size, noise, a twin."""
    if isinstance(stage.distiller, Similarity):
        return
    with within(name):
        if prior.bound is not None:
            prior.check_size(stage.size, stage.size)
        for progress in (0.0, 1 - 1 / stage.steps):
            stage.noise.draw(prior, stage.views, progress, torch.Generator().manual_seed(0))
    twin = getattr(stage.distiller, "twin", None)
    if twin is not None and twin.kind == "lora":
        try:
            prior.anatomy()
        except ScoreliftError as error:
            other = "prior" if stage.prior is None else f"{name}.prior"
            raise ScoreliftError(f"{name}.distiller.{error} Set --{name}.distiller.twin.kind identity, or another "
                                 f"--{other}.") from error  # fmt: skip
