"""DreamFlow's claims on scenes, tried again with the embedded prior: the field by each distiller, and part after part.

Ref: Lee et al., "DreamFlow" (2024), Figures 5 and 13, Tables 2 and 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from ..core.pictures import plotted, stacked
from ..core.schedules import Constant, Steps
from ..distill.noise import Times, annealed
from ..distill.sds import SDS
from ..distill.twin import TwinConfig
from ..distill.vsd import APFO, VSD
from ..engine.outputs import load_asset
from ..engine.run import Run
from ..evaluate.geometry import compare_views
from ..recipes import DreamFlow, Magic3D, ProlificDreamer, Recipe
from ..recipes.base import Penalties
from ..toybox.truth import Truth
from .bench import Bench, Findings, Scale
from .flat import CFG
from .measures import compared, worked


def field_methods() -> dict[str, DreamFlow]:
    """The field stage of the `small` preset by SDS, VSD and APFO, each with the noise and guidance that suit it."""
    flow = replace(small_flow(), until="nerf")
    empty = Penalties(emptiness=Steps((0.0, 0.5), (0.002, 0.02)))
    late = Times(low=Constant(0.02), high=Steps((0.0, 0.2), (0.98, 0.5)))
    known = replace(flow.nerf, distiller=APFO(cfg_scale=CFG, twin=TwinConfig(kind="identity")))
    sds = replace(flow.nerf, distiller=SDS(cfg_scale=15.0, weighting="sigma2"), noise=annealed(0.85, 0.45, 0.2))
    vsd = replace(flow.nerf, distiller=VSD(cfg_scale=CFG), noise=late)
    gentle = Penalties(emptiness=Steps((0.0, 0.5), (0.001, 0.006)))  # by more it is carved away
    return {
        "SDS": replace(flow, nerf=replace(sds, penalties=empty)),
        "VSD": replace(flow, nerf=replace(vsd, penalties=gentle)),
        "APFO": flow,
        "APFO, identity": replace(flow, nerf=known),
    }


def small_flow() -> DreamFlow:
    """The `small` preset."""
    flow = DreamFlow.preset("small")
    assert isinstance(flow, DreamFlow)
    return flow


def table2(bench: Bench, scale: Scale) -> Findings:
    """What each distiller makes of a field in half of the preset's steps and in all of them."""
    found = _fields(bench, scale, dict.fromkeys(field_methods(), (0.5, 1.0)), "the field by SDS, VSD and APFO")
    return replace(found, picture=stacked(_score_against_seconds(found.values), found.picture))


def equal_seconds(bench: Bench, scale: Scale) -> Findings:
    """The same at about equal cost: with a learned twin, a step takes twice as long, so half of the steps are made."""
    parts = {"SDS": (1.0,), "APFO, identity": (1.0,), "VSD": (0.5,), "APFO": (0.5,)}
    return _fields(bench, scale, parts, "the field by SDS, VSD and APFO in about equal seconds")


def _fields(bench: Bench, scale: Scale, parts: Mapping[str, tuple[float, ...]], what: str) -> Findings:
    """What some of the `field_methods` make, each in these parts of the preset's steps."""
    recipes: dict[str, Recipe] = {}
    for name, some in parts.items():
        recipe = field_methods()[name]
        lengths = [max(1, int(part * (scale.steps or recipe.nerf.steps))) for part in some]
        recipes |= {f"{name}, {n} steps": recipe.with_steps(n) for n in lengths}
    runs = bench.grid(scale, {name: lambda seed, r=recipe: replace(r, seed=seed) for name, recipe in recipes.items()})
    seconds = {name: [worked(run, "nerf") for run in group if run is not None] for name, group in runs.items()}
    return compared(
        runs,
        scale,
        f"DreamFlow, Table 2: {what}",
        "\n\nOne hash grid, one optimizer. SDS at cfg 15, noise annealed from .85 to .45; VSD at cfg 7.5, noise up to "
        ".98, then .5; APFO at cfg 7.5 along its trajectory, with a learned twin or with D(x) = x. "
        "Processor seconds of the optimization alone.",
        seconds,
    )


def _score_against_seconds(values: Mapping[str, Any]) -> UInt8[ndarray, "h w 3"]:
    """Retrieval in colour and light of each method, at half of its steps and at all."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for name, spent in values["seconds"].items():
        if spent:
            score = values[name]["r1_shaded"]["mean"]
            curves.setdefault(name.rpartition(",")[0], []).append((sum(spent) / len(spent), score))
    return plotted(curves, "processor seconds", "R-Precision, R=1, lit", dots=True)


def mesh_methods() -> dict[str, Recipe]:
    """The `small` presets of the three whose meshes the paper compares; its own without refinement, as there."""
    return {
        "Magic3D": Magic3D.preset("small"),
        "ProlificDreamer": ProlificDreamer.preset("small"),
        "DreamFlow": replace(small_flow(), until="texture"),
    }


def table3(bench: Bench, scale: Scale) -> Findings:
    """Tuned meshes of SDS, VSD and APFO."""
    recipes = {
        name: recipe.with_steps(scale.steps) if scale.steps else recipe for name, recipe in mesh_methods().items()
    }
    runs = bench.grid(scale, {name: lambda seed, r=recipe: replace(r, seed=seed) for name, recipe in recipes.items()})
    seconds = {
        name: [worked(run, *recipes[name].stages()) for run in group if run is not None] for name, group in runs.items()
    }
    return compared(
        runs,
        scale,
        "DreamFlow, Table 3: meshes of Magic3D (SDS), ProlificDreamer (VSD) and DreamFlow (APFO)",
        "\n\nThe `small` presets, without refinement. Processor seconds of all stages.",
        seconds,
    )


def figure5(bench: Bench, scale: Scale) -> Findings:
    """The same scenes after the field, after the mesh's geometry and texture, and refined."""
    parts = {"field": ("nerf",), "mesh": ("geometry", "texture"), "refined": ("refine",)}
    whole = small_flow() if scale.steps is None else small_flow().with_steps(scale.steps)
    runs: dict[str, list[Run | None]] = {label: [] for label in parts}
    seconds: dict[str, list[float]] = {label: [] for label in parts}
    for prompt, seed in scale.cases:
        run: Run | None = None
        for label, stages in parts.items():
            recipe = replace(whole, until=stages[-1], seed=seed)
            if run is not None or label == "field":  # from an empty field there is no going on
                run = bench.attempt(f"stages {label}", prompt, recipe, start=run)
            runs[label].append(run)
            if run is not None:
                seconds[label].append(worked(run, *stages))
    fine = {label: [_finely(run) for run in group if run is not None] for label, group in runs.items()}
    likeness = ", ".join(f"{label} {sum(marks) / len(marks):.3f}" for label, marks in fine.items() if marks)
    return compared(
        runs,
        scale,
        "DreamFlow, Figures 5 and 13: field, mesh, refined mesh",
        "\n\nThe `small` preset, each row going on from the one above; processor seconds of that part alone. The marks "
        f"are of views of 64²; at 256², where refinement works, the SSIM of unlit views with true ones is: {likeness}.",
        seconds,
        size=192,
    )


def _finely(run: Run) -> float:
    """How like the truth's the asset's unlit views are, at the size of the refinement."""
    return compare_views(load_asset(run), Truth(run.prompt), size=256)["ssim"]
