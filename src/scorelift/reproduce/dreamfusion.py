"""DreamFusion's evaluation, made again with its `small` preset and the embedded prior.

Ref: Poole et al. (2022), Figures 2, 6 and 9, Table 1. Their CLIP is here the closed world's retriever, their captions
its prompts; the judge's reading and the distance to the truth, which they could not have, stand beside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ..core.camera_samplers import OrbitSampler
from ..core.pictures import labelled_sheet
from ..core.samplers import ShadingSampler
from ..core.schedules import Constant
from ..distill.noise import Times
from ..distill.sds import SDS
from ..engine.results import final_scene
from ..engine.run import Run
from ..evaluate.prior import draw_samples
from ..evaluate.retrieval import summary
from ..priors.registry import load_prior
from ..recipes import CanvasRecipe, DreamFields, DreamFusion
from ..recipes.base import Prompting
from ..scenes.canvas import Canvas
from ..toybox.grammar import parse
from ..toybox.judge import judge_pictures, load_judge
from .bench import Bench, Findings, Scale, small, table
from .measures import FRONT_LEFT, compared, rendered

GUIDANCES = (2.0, 5.0, 10.0, 20.0, 50.0, 101.0)


def figure2(bench: Bench, scale: Scale) -> Findings:
    """Pictures sampled step by step, and found by SDS: pixel by pixel, and with the right half mirroring the left."""
    prior, (judge, _) = load_prior("toybox"), load_judge()
    columns: dict[str, list[Tensor]] = {"ancestral sampling": [], "SDS, pixels": [], "SDS, mirrored": []}
    for prompt, seed in scale.cases:
        columns["ancestral sampling"].append(draw_samples(prior, [prompt], cfg_scale=3.0, steps=40, seed=seed)[0])
        for label, preset in (("SDS, pixels", None), ("SDS, mirrored", "mirror")):
            recipe = CanvasRecipe.preset(preset) if preset else CanvasRecipe()
            (stage,) = recipe.stages().values()
            plain = replace(
                stage, steps=scale.steps or stage.steps, views=1, noise=Times(low=Constant(0.02), high=Constant(0.98)),
                distiller=SDS(cfg_scale=5.0, weighting="sigma2"),
            )  # fmt: skip
            run = bench.run(label, prompt, replace(recipe.with_stages({"picture": plain}), seed=seed))
            scene = final_scene(run)
            assert isinstance(scene, Canvas)
            columns[label].append(scene.picture(64)[0].detach().clamp(0, 1))
    kinds = [parse(prompt).spec.kind for prompt, _ in scale.cases]
    colours = [parse(prompt).spec.main_colour for prompt, _ in scale.cases]
    prompts = [prompt for prompt, _ in scale.cases]
    rows = {}
    for label, pictures in columns.items():
        seen = judge_pictures(judge, torch.stack(pictures))
        chroma = [float((p.amax(0) - p.amin(0)).mean()) for p in pictures]
        rows[label] = [
            summary([float(a == b) for a, b in zip(seen.object, kinds, strict=True)], prompts),
            summary([float(a == b) for a, b in zip(seen.colour, colours, strict=True)], prompts),
            summary(chroma, prompts),
        ]
    names = ["object as asked", "colour as asked", "chroma"]
    pictures = [columns[label][i] for i in range(len(kinds)) for label in columns]
    labels = [f"{prompt}: {label}" for prompt, _ in scale.cases for label in columns]
    return Findings(
        title="DreamFusion, Figure 2: sampling in pixels and by optimization",
        text=table("method", names, rows)
        + "\n\nSampling at cfg 3, SDS at cfg 5 with t ~ U(.02, .98). Read by the judge; chroma is the mean of "
        "max - min over rgb. SDS seeks modes: smooth and saturated.",
        values={label: dict(zip(names, row, strict=True)) for label, row in rows.items()},
        picture=labelled_sheet(torch.stack(pictures), labels, 6),
    )


def table1(bench: Bench, scale: Scale) -> Findings:
    """SDS against ascent of the retriever's similarity (Dream Fields) on the same scene, and the world's pictures."""
    recipes = {"similarity (Dream Fields)": DreamFields, "SDS (DreamFusion)": DreamFusion}
    runs = bench.grid(scale, {label: partial(small, cls, {}, steps=scale.steps) for label, cls in recipes.items()})
    return compared(
        runs,
        scale,
        "DreamFusion, Table 1: coherence with the caption",
        "\n\nThe baseline ascends the very score that retrieval ranks by, as the paper notes of Dream Fields.",
    )


def ablation() -> dict[str, dict[str, Any]]:
    """Figure 6's rows: what each replaces in the `small` preset's stage. Each adds one choice to the one above."""
    (field,) = DreamFusion.preset("small").stages().values()
    unlit, lit = ShadingSampler(shaded=0.0), replace(field.shading, textureless=0.0)
    narrow = OrbitSampler(elevation_deg=(0, 30), high_share=0.0, fill=(0.85, 0.85), target_std=0.0)
    plain, said = Prompting(choice="none"), Prompting(choice="nearest")
    return {
        "base": {"cameras": narrow, "prompting": plain, "shading": unlit},
        "+ ViewAug": {"prompting": plain, "shading": unlit},
        "+ ViewDep": {"prompting": said, "shading": unlit},
        "+ Lighting": {"prompting": said, "shading": lit},
        "+ Textureless": {"prompting": said},
        "camera for ViewDep": {},
    }


def figure6(bench: Bench, scale: Scale) -> Findings:
    """One choice after another: wide views, view phrases, light, renders without colour, told cameras."""
    note = (
        "\n\nEach row adds to the one above; base: elevation 0 to 30 degrees, one apparent size, albedo renders only. "
        "In the last row, the preset itself, the prior is told cameras instead of phrases."
    )
    return compared(_runs(bench, scale, ablation()), scale, "DreamFusion, Figure 6: ablation", note)


def figure9(bench: Bench, scale: Scale) -> Findings:
    """Guidance weights by seeds."""
    variants = {f"cfg-{cfg:g}": {"distiller": SDS(cfg_scale=cfg, weighting="sigma2")} for cfg in GUIDANCES}
    (judge, _), pictures, labels = load_judge(), [], []
    values: dict[str, list[Any]] = {}
    for label, group in _runs(bench, scale, variants).items():
        hits, chroma, cfg = [], [], label.removeprefix("cfg-")
        for run, (prompt, seed) in zip(group, scale.cases, strict=True):
            views, kind = rendered(run, "albedo", tuple(range(8))), parse(prompt).spec.kind
            right = sum(seen == kind for seen in judge_pictures(judge, torch.stack(views)).object) / 8
            hits.append(0.0 if run is None else right)
            if run is not None:
                chroma.append((float(torch.stack([p.amax(0) - p.amin(0) for p in views]).mean()), prompt))
            pictures.append(views[FRONT_LEFT])
            labels.append(f"cfg {cfg}, {prompt}, seed {seed}" + (", empty" if run is None else ""))
        prompts = [prompt for prompt, _ in scale.cases]
        values[cfg] = [summary(hits, prompts), summary([c for c, _ in chroma], [prompt for _, prompt in chroma])]
    names, many = ["object as asked", "chroma"], len(scale.cases)
    order = [i + j for j in range(many) for i in range(0, len(pictures), many)]  # a row for each seed
    return Findings(
        title="DreamFusion, Figure 9: guidance weight and seed",
        text=table("cfg (omega + 1)", names, values) + "\n\nAlbedo from eight azimuths, read by the judge; "
        "runs whose scene ended empty are misses, without chroma.",
        values={cfg: dict(zip(names, row, strict=True)) for cfg, row in values.items()},
        picture=labelled_sheet(torch.stack([pictures[i] for i in order]), [labels[i] for i in order], len(GUIDANCES)),
    )


def _runs(bench: Bench, scale: Scale, variants: Mapping[str, dict[str, Any]]) -> dict[str, list[Run | None]]:
    """Every prompt and seed with every variant of the `small` preset."""
    return bench.grid(
        scale, {label: partial(small, DreamFusion, stage, steps=scale.steps) for label, stage in variants.items()}
    )
