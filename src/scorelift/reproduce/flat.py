"""DreamFlow's claims on flat pictures: gradients on the way, and few steps of APFO against many of VSD.

Ref: Lee et al., "DreamFlow" (2024), Figures 6 and 14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import UInt8
from numpy import ndarray
from torch import Tensor

from ..core.pictures import labelled_sheet, plotted, stacked
from ..core.schedules import Ramp
from ..distill.noise import DreamTime, Noise, Times
from ..distill.twin import TwinConfig
from ..distill.vsd import APFO
from ..engine.results import final_scene
from ..engine.run import Run
from ..evaluate.prior import draw_samples
from ..evaluate.retrieval import summary
from ..priors.registry import load_prior
from ..recipes.canvas import CanvasRecipe, study
from ..scenes.canvas import Canvas
from ..toybox.grammar import parse
from ..toybox.judge import judge_pictures, load_judge
from .bench import Bench, Findings, Scale, table
from .measures import data_distance, sharpness, worked

CFG, PARTS = 7.5, 5
"""Guidance of all methods, and parts of a run whose gradients are compared."""


def methods(steps: int) -> dict[str, CanvasRecipe]:
    """Canvas recipes by method."""
    flow = study("apfo", "annealed", CFG, pictures=2, steps=steps)
    known = replace(flow.picture, distiller=APFO(cfg_scale=CFG, twin=TwinConfig(kind="identity")))
    return {
        "SDS": study("sds", "random", CFG, pictures=2, steps=steps),
        "VSD": study("vsd", "random", CFG, pictures=2, steps=steps),
        "APFO": flow,
        "APFO, identity": replace(flow, picture=known),
    }


@dataclass(frozen=True)
class Flat:
    """The pictures of a canvas run."""

    run: Run
    pictures: Tensor
    hits: float
    "Share of them that the judge takes for what was asked."


def _canvases(bench: Bench, scale: Scale, recipes: Mapping[str, CanvasRecipe]) -> dict[str, list[Flat]]:
    """Every prompt and seed by every method."""
    judge, _ = load_judge()
    made: dict[str, list[Flat]] = {}
    for name, recipe in recipes.items():
        made[name] = []
        for prompt, seed in scale.cases:
            run = bench.run(f"canvas {name}", prompt, replace(recipe, seed=seed))
            scene = final_scene(run)
            assert isinstance(scene, Canvas)
            found, kind = scene.picture(64).detach(), parse(prompt).spec.kind
            hits = sum(seen == kind for seen in judge_pictures(judge, found).object) / len(found)
            made[name].append(Flat(run, found, hits))
    return made


def _over_prompts(values: Sequence[float], flats: Sequence[Flat]) -> dict[str, float] | None:
    """Mean of a value of each canvas run, its interval over prompts."""
    return summary(values, [flat.run.prompt for flat in flats])


def _sheet(made: Mapping[str, list[Flat]]) -> UInt8[ndarray, "h w 3"]:
    """A row of pictures for each method."""
    labels = [f"{name}: {flat.run.prompt}" for name, flats in made.items() for flat in flats for _ in flat.pictures]
    pictures = torch.cat([flat.pictures for flats in made.values() for flat in flats])
    return labelled_sheet(pictures, labels, len(pictures) // len(made))


def figure6(bench: Bench, scale: Scale) -> Findings:
    """Gradients over the course of SDS, VSD and APFO, and the pictures they make."""
    made, rows = _canvases(bench, scale, methods(scale.steps or 400)), {}
    for name, flats in made.items():
        parts, restless = zip(*(_course(flat.run) for flat in flats), strict=True)
        course = torch.stack(parts).mean(0).tolist()
        rows[name] = [_over_prompts([flat.hits for flat in flats], flats), _over_prompts(restless, flats), *course]
    names = ["object as asked", "restlessness", *(f"part {i + 1}" for i in range(PARTS))]
    return Findings(
        title="DreamFlow, Figure 6: gradients of VSD and APFO on pictures",
        text=table("method", names, rows)
        + f"\n\nAll at cfg {CFG:g}; SDS and VSD at random noise, APFO along its trajectory. Parts: gradient norm in "
        "fifths of the run, relative to the first. Restlessness: the mean change of the norm from a step to the next, "
        "relative to the norm; the curves are the first prompt's, whose first fifth is 1. Read by the judge.",
        values={name: dict(zip(names, row, strict=True)) for name, row in rows.items()},
        picture=stacked(
            plotted({name: _curve(flats[0].run) for name, flats in made.items()}, "step", "gradient norm"),
            _sheet(made),
        ),
    )


def flat_methods(steps: int) -> dict[str, CanvasRecipe]:
    """Figure 14's: SDS and VSD in `steps`, with three ways of noise; APFO in a fifth and in two fifths of them.

    And VSD in as few, which the paper does not show: what is fast is told by methods in the same steps.
    """
    vsd = study("vsd", "random", CFG, pictures=2, steps=steps)
    noises: dict[str, Noise] = {
        "linear": Times(low=Ramp(0.98, 0.02), high=Ramp(0.98, 0.02)),
        "DreamTime": DreamTime(),
    }
    fifth = max(1, steps // 5)
    few = (fifth, 2 * fifth)
    return {
        "SDS, random": study("sds", "random", CFG, pictures=2, steps=steps),
        "VSD, random": vsd,
        **{f"VSD, {name}": replace(vsd, picture=replace(vsd.picture, noise=noise)) for name, noise in noises.items()},
        **{f"VSD, random, {n} steps": study("vsd", "random", CFG, pictures=2, steps=n) for n in few},
        **{f"APFO, {n} steps": study("apfo", "annealed", CFG, pictures=2, steps=n) for n in few},
    }


def figure14(bench: Bench, scale: Scale) -> Findings:
    """Pictures by APFO in few steps, and by SDS and VSD in many."""
    made = _canvases(bench, scale, flat_methods(scale.steps or 500))
    rows = {
        name: [
            _over_prompts([flat.hits for flat in flats], flats),
            _over_prompts([data_distance(flat.pictures, flat.run.prompt) for flat in flats], flats),
            _over_prompts([sharpness(flat.pictures) for flat in flats], flats),
            _over_prompts([worked(flat.run, "picture") for flat in flats], flats),
        ]
        for name, flats in made.items()
    }
    prior = load_prior("toybox")
    own = [draw_samples(prior, [prompt] * 8, cfg_scale=3.0, steps=30, seed=0) for prompt in scale.prompts]
    far = [data_distance(pictures, prompt) for pictures, prompt in zip(own, scale.prompts, strict=True)]
    names = ["object as asked", "distance to the data", "sharpness", "processor seconds"]
    return Findings(
        title="DreamFlow, Figure 14: few steps of APFO, many of VSD",
        text=table("method, noise", names, rows)
        + f"\n\nAll at cfg {CFG:g}. Distance to the data: from the nearest of 96 true pictures, 1 - cosine in the "
        f"retriever's space; {sum(far) / len(far):.3f} for samples of the prior. Sharpness: mean absolute difference "
        f"of neighbouring pixels, {sharpness(torch.cat(own)):.3f} in those samples: more is grain. Read by the judge.",
        values={name: dict(zip(names, row, strict=True)) for name, row in rows.items()},
        picture=_sheet(made),
    )


def _curve(run: Run) -> list[tuple[float, float]]:
    """Gradient norms step by step, relative to their mean over the first part."""
    norms = [entry["gradient"] for entry in run.read_log()]
    first = norms[: max(1, len(norms) // PARTS)]
    unit = max(sum(first) / len(first), 1e-12)
    return [(float(i), norm / unit) for i, norm in enumerate(norms, 1)]


def _course(run: Run) -> tuple[Tensor, float]:
    """Gradient norms by part of a run, relative to the first, and how much they jump."""
    norms = torch.tensor([entry["gradient"] for entry in run.read_log()])
    parts = torch.stack([part.mean() for part in norms.tensor_split(PARTS)])
    jumps = sum(abs(a - b) / max(a, b, 1e-12) for a, b in pairwise(norms.tolist())) / max(1, len(norms) - 1)
    return parts / parts[0].clamp_min(1e-12), jumps
