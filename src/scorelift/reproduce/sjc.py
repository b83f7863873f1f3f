"""The studies of Score Jacobian Chaining, made again with the embedded prior.

Ref: Wang et al. (2022), Figures 2, 4, 6, 7 and A2. Their unconditional models of faces and bedrooms are here the
embedded prior without a prompt (cfg 0).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import combinations

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..core.pictures import labelled_sheet
from ..core.schedules import Constant, Schedule
from ..engine.results import final_scene
from ..engine.run import Run
from ..evaluate.assets import Cameras30
from ..evaluate.prior import draw_samples
from ..evaluate.retrieval import summary
from ..priors.registry import load_prior
from ..recipes import DreamFusion, Recipe, ScoreJacobianChaining
from ..recipes.canvas import study
from ..recipes.sjc import SMALL_SAMPLES, emptiness
from ..scenes.canvas import Canvas
from ..toybox.grammar import parse
from ..toybox.judge import judge_pictures, load_judge
from .bench import Bench, Findings, Scale, small, table
from .measures import compared, rendered, sharpness

NOISES = (1.0, 2.0, 4.0, 8.0)
GUIDANCES = (0.0, 3.0, 10.0)
CENTRE_WEIGHT = 100 / 64**2
"""The paper's 100 (Figure A2), whose gradients are sums over a picture where ours are means."""


def regularized(**penalties: Schedule) -> Callable[..., Recipe]:
    """The `small` preset with penalties replaced; to be called with steps and seed."""
    (field,) = ScoreJacobianChaining.preset("small").stages().values()
    return partial(small, ScoreJacobianChaining, {"penalties": replace(field.penalties, **penalties)})


def blob(size: int = 64) -> Tensor:
    """An orange disc on grey, (1, 3, size, size) in [0, 1]."""
    axis = torch.linspace(-1, 1, size)
    inside = (axis[:, None] ** 2 + axis[None] ** 2 < 0.2).float()
    orange, grey = torch.tensor([0.9, 0.45, 0.1]), torch.tensor([0.5, 0.5, 0.5])
    return (inside * orange[:, None, None] + (1 - inside) * grey[:, None, None])[None]


def figure2(bench: Bench, scale: Scale) -> Findings:
    """What the denoiser makes of a picture without the noise it expects, and with it."""
    prior = load_prior("toybox")
    condition = prior.encode_prompts([""])
    z = prior.encode(blob())
    pictures, labels, rows = [prior.decode(z)[0]], ["the blob"], {}
    for sigma in NOISES:
        level = Level.vp(torch.tensor([sigma]))
        means = []
        for kind in ("bare", "noised"):
            found = []
            for seed in scale.seeds:
                noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(seed))
                z_t = level.add_noise(z, noise if kind == "noised" else torch.zeros_like(noise))
                with torch.no_grad():
                    found.append(prior.predict_x0(z_t, level, condition))
            pictures.append(prior.decode(found[0])[0])
            labels.append(f"{kind}, sigma {sigma:g}")
            means.append(summary([float((one - z).square().mean().sqrt()) for one in found]))
        rows[f"{sigma:g}"] = means
    names = ["D(blob) - blob", "D(blob + sigma n) - blob"]
    return Findings(
        title="SJC, Figure 2: a denoiser needs its noise",
        text=table("sigma", names, rows)
        + "\n\nRoot mean square of the change, without prompt. Without noise the picture lies outside of what the "
        "denoiser was trained on; with it the blob is drawn toward the world's pictures.",
        values={sigma: dict(zip(names, row, strict=True)) for sigma, row in rows.items()},
        picture=labelled_sheet(torch.stack(pictures), labels, 3),
    )


def figure4(bench: Bench, scale: Scale) -> Findings:
    """Annealed and random noise on free pixels, without prompt (cfg 0) and at two guidance scales.

    At cfg 0 prompts have no weight, and so there is one run a seed.
    """
    judge, _ = load_judge()
    pictures, labels, rows, columns = [], [], {}, 2 * len(scale.cases)
    for cfg in GUIDANCES:
        cases = scale.cases if cfg else [(scale.prompts[0], seed) for seed in scale.seeds]
        prompts = [prompt for prompt, _ in cases] if cfg else None
        for noise in ("annealed", "random"):
            label = f"{noise}, " + ("no prompt" if cfg == 0 else f"cfg {cfg:g}")
            hits, sure, apart, sharp = [], [], [], []
            for prompt, seed in cases:
                recipe = study("sjc", noise, cfg, pictures=4, steps=scale.steps or 300)
                run = bench.run(f"canvas {label}", prompt, replace(recipe, seed=seed))
                scene = final_scene(run)
                assert isinstance(scene, Canvas)
                found = scene.picture(64).detach().clamp(0, 1)
                seen = judge_pictures(judge, found)
                hits.append(sum(kind == parse(prompt).spec.kind for kind in seen.object) / len(found))
                sure.append(float(seen.probability["object"].amax(-1).mean()))
                apart.append(_apart(found))
                sharp.append(sharpness(found))
                shown = list(found[: columns // len(cases)])
                pictures += shown
                labels += [f"{label}: {prompt}" if cfg else label] * len(shown)
            blank = -len(pictures) % columns
            pictures, labels = pictures + [torch.ones(3, 64, 64)] * blank, labels + [""] * blank
            asked = summary(hits, prompts) if cfg else None
            rows[label] = [asked, *(summary(values, prompts) for values in (sure, apart, sharp))]
    true = draw_samples(load_prior("toybox"), [p for p, _ in scale.cases] * 4, cfg_scale=3.0, steps=30, seed=0)
    names = ["object as asked", "judge's confidence", "apart", "sharpness"]
    return Findings(
        title="SJC, Figure 4: annealed and random noise",
        text=table("noise, guidance", names, rows)
        + "\n\nApart: root mean square difference of two pictures of a run. Sharpness: mean absolute difference of "
        f"neighbouring pixels, which is {sharpness(true):.3f} in samples of the prior. Read by the judge. Without a "
        "prompt (cfg 0) prompts make no difference: one run a seed.",
        values={label: dict(zip(names, row, strict=True)) for label, row in rows.items()},
        picture=labelled_sheet(torch.stack(pictures), labels, columns),
    )


def figure7(bench: Bench, scale: Scale) -> Findings:
    """The emptiness loss: none, weak, strong, and weak then strong, as the `small` preset has it."""
    variants = {
        "none": regularized(emptiness=Constant(0.0)),
        "lambda 1e4": regularized(emptiness=Constant(emptiness(1e4, SMALL_SAMPLES))),
        "lambda 2e5": regularized(emptiness=Constant(emptiness(2e5, SMALL_SAMPLES))),
        "1e4, then 8e4": regularized(),
    }
    runs = bench.grid(scale, {name: partial(made, steps=scale.steps) for name, made in variants.items()})
    note = (
        f"\n\nThe weights are the paper's as they are over {SMALL_SAMPLES} samples a ray; here they are 63 at most, by "
        "which Eq. 26 would call 1e4, 2e5 and 8e4 1.8e3, 3.6e4 and 1.5e4."
    )
    return compared(runs, scale, "SJC, Figure 7: the emptiness loss", note)


def figure_a2(bench: Bench, scale: Scale) -> Findings:
    """The centre-depth loss off and on: how far from the picture's middle the object stands."""
    recipes = {
        f"centre depth {name}": partial(regularized(centre_depth=Constant(weight)), steps=scale.steps)
        for name, weight in (("off", 0.0), ("on", CENTRE_WEIGHT))
    }
    pictures, labels, rows = [], [], {}
    for label, group in bench.grid(scale, recipes).items():
        name, there = label.removeprefix("centre depth "), [run for run in group if run is not None]
        for run, (prompt, _) in zip(group, scale.cases, strict=True):
            pictures += rendered(run, "albedo")
            labels += [f"{name}: {prompt}"] * 2
        offset = summary([_offset(run) for run in there], [run.prompt for run in there])
        rows[name] = [f"{len(there)} of {len(group)}", offset]
    return Findings(
        title="SJC, Figure A2: the centre-depth loss",
        text=table("centre-depth loss", ["scenes", "offset"], rows)
        + "\n\nOffset: distance of the opacity's centre from the picture's, in picture widths, mean of eight views.",
        values={name: {"offset": row[1]} for name, row in rows.items()},
        picture=labelled_sheet(torch.stack(pictures), labels, 2 * len(scale.cases)),
    )


def figure6(bench: Bench, scale: Scale) -> Findings:
    """Score Jacobian chaining beside DreamFusion, both small."""

    recipes = {
        "sjc, small": partial(regularized(), steps=scale.steps),
        "dreamfusion, small": partial(small, DreamFusion, {}, steps=scale.steps),
    }
    runs = bench.grid(scale, recipes)
    spent = {name: [run.metrics["seconds"] for run in group if run is not None] for name, group in runs.items()}
    means = ", ".join(f"{name} {sum(values) / len(values):.0f}" for name, values in spent.items() if values)
    note = f"\n\nSeconds a run: {means}."
    return compared(runs, scale, "SJC, Figure 6: beside DreamFusion", note)


def _apart(pictures: Tensor) -> float:
    """Root mean square difference of two pictures, averaged over the pairs."""
    pairs = combinations(pictures, 2)
    return float(torch.stack([(a - b).square().mean().sqrt() for a, b in pairs]).mean())


def _offset(run: Run) -> float:
    """Mean distance of the object's centre from the picture's, in picture widths."""
    scene = final_scene(run)
    with torch.no_grad():
        opacity = scene.render(Cameras30().ring(), 48, background=torch.ones(8, 3, 1, 1)).opacity[:, 0]
    axis = (torch.arange(48) + 0.5) / 48 - 0.5
    total = opacity.sum((1, 2)).clamp_min(1e-6)
    x, y = (opacity * axis).sum((1, 2)) / total, (opacity * axis[:, None]).sum((1, 2)) / total
    return float((x**2 + y**2).sqrt().mean())
