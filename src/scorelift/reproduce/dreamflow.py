"""DreamFlow's look at its optimizer, made again on flat pictures with the embedded prior.

Ref: Lee et al., "DreamFlow" (2024), Figures 6 (gradient norms of APFO fall, those of VSD fluctuate) and 14 (pictures).
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from ..core.pictures import labelled_sheet
from ..distill.twin import TwinConfig
from ..distill.vsd import APFO
from ..engine.run import Run, final_scene
from ..evaluate.retrieval import summary
from ..recipes.canvas import CanvasRecipe, study
from ..scenes.canvas import Canvas
from ..toybox.grammar import parse
from ..toybox.judge import judge_pictures, load_judge
from .bench import Bench, Findings, Scale, table

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


def figure6(bench: Bench, scale: Scale) -> Findings:
    """Gradients over the course of SDS, VSD and APFO, and the pictures they make (also Figure 14)."""
    (judge, _), pictures, labels, rows = load_judge(), [], [], {}
    for name, recipe in methods(scale.steps or 400).items():
        hits, restless, parts = [], [], []
        for prompt, seed in scale.cases:
            run = bench.run(f"canvas {name}", prompt, replace(recipe, seed=seed))
            scene = final_scene(run)
            assert isinstance(scene, Canvas)
            found = scene.picture(64).detach()
            kind = parse(prompt).spec.kind
            hits.append(sum(seen == kind for seen in judge_pictures(judge, found).object) / len(found))
            means, spread = _course(run)
            parts.append(means)
            restless.append(spread)
            pictures += list(found)
            labels += [f"{name}: {prompt}"] * len(found)
        course = torch.stack(parts).mean(0).tolist()
        rows[name] = [summary(hits), summary(restless), *course]
    names = ["object as asked", "restlessness", *(f"part {i + 1}" for i in range(PARTS))]
    return Findings(
        title="DreamFlow, Figures 6 and 14: gradients of VSD and APFO on pictures",
        text=table("method", names, rows)
        + f"\n\nAll at cfg {CFG:g}; SDS and VSD at random noise, APFO along its trajectory. Parts: gradient norm in "
        "fifths of the run, relative to the first. Restlessness: the mean change of the norm from a step to the next, "
        "relative to the norm. Read by the judge.",
        values={name: dict(zip(names, row, strict=True)) for name, row in rows.items()},
        picture=labelled_sheet(torch.stack(pictures), labels, 2 * len(scale.cases)),
    )


def _course(run: Run) -> tuple[Tensor, float]:
    """Gradient norms by part of a run, relative to the first, and how much they jump."""
    norms = torch.tensor([entry["gradient"] for entry in run.read_log()])
    parts = torch.stack([part.mean() for part in norms.tensor_split(PARTS)])
    jumps = sum(abs(a - b) / max(a, b, 1e-12) for a, b in pairwise(norms.tolist())) / max(1, len(norms) - 1)
    return parts / parts[0].clamp_min(1e-12), jumps
