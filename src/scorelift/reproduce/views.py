"""What cures the second face: the ways of saying the view to the prior, compared on objects with a front.

Ref: DreamFusion Sec. 3.2 (bare front, side, back; nearest or interpolated); Perp-Neg: Armandpour et al. (2023).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from ..distill.vsd import APFO
from ..evaluate.janus import calibrate
from ..recipes import Quick, Recipe
from ..recipes.base import Prompting
from ..toybox.judge import load_judge
from .bench import Bench, Findings, Scale
from .measures import compared

PERP_NEG = 1.0
WAYS: dict[str, tuple[Prompting, float]] = {
    "no view phrase": (Prompting(choice="none"), 0.0),
    "front, side, back": (Prompting(choice="bare"), 0.0),
    "left and right told apart": (Prompting(choice="nearest"), 0.0),
    "the same, interpolated": (Prompting(choice="interpolated"), 0.0),
    "left and right, Perp-Neg": (Prompting(choice="nearest"), PERP_NEG),
    "the camera itself": (Prompting(choice="camera"), 0.0),
}


def said(way: tuple[Prompting, float], *, steps: int | None, seed: int) -> Recipe:
    """The default recipe with one way of saying views; `steps` of each stage, None for its own."""
    prompting, perp_neg = way
    quick = Quick()
    stages = {}
    for name, stage in quick.stages().items():
        assert isinstance(stage.distiller, APFO)
        distiller = replace(stage.distiller, perp_neg=perp_neg)
        stages[name] = replace(stage, prompting=prompting, distiller=distiller)
    recipe = replace(quick.with_stages(stages), seed=seed)
    return recipe if steps is None else recipe.with_steps(steps)


def view_phrases(bench: Bench, scale: Scale) -> Findings:
    """The Janus score of each way, beside that of true objects and of two-faced ones."""
    recipes = {label: partial(said, way, steps=scale.steps) for label, way in WAYS.items()}
    known = calibrate(load_judge()[0])
    note = (
        f"\n\nThe judge's Janus score is {known['true']:.2f} for true objects and {known['two_faced']:.2f} for objects "
        "made two-faced by mirroring their front half."
    )
    return compared(bench.grid(scale, recipes), scale, "The second face, by how the view is said", note)
