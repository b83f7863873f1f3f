"""How groups of runs are measured and shown beside each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from ..core.camera_samplers import OrbitSampler
from ..core.pictures import labelled_sheet
from ..core.samplers import BackdropSampler, LightSampler
from ..distill.scorers import load_scorer
from ..engine.results import final_scene
from ..engine.run import Run
from ..evaluate.assets import BACKDROP, MODES, Cameras30, Evaluation, Yardstick, look, means
from ..evaluate.retrieval import spec_of, summary
from ..scenes import Body
from ..toybox.truth import Truth
from .bench import Findings, Scale, table

FRONT_LEFT, BACK_RIGHT = 1, 5
"""Of the eight azimuths of `Cameras30`."""
MISSED = ("r1_albedo", "r1_shaded", "r1_textureless", "r1_shape", "kind_textureless", "object")
"Marks that a scene which ended empty misses."
THERE = ("janus", "chamfer")
"Marks that only scenes with something to see have."


def rendered(
    run: Run | None, mode: str, azimuths: tuple[int, ...] = (FRONT_LEFT, BACK_RIGHT), size: int = 64
) -> list[Float[Tensor, "3 {size} {size}"]]:
    """Pictures of a run's scene at 30 degrees of elevation; of one that ended empty the backdrop."""
    if run is None:
        return [torch.full((3, size, size), BACKDROP) for _ in azimuths]
    scene = final_scene(run)
    assert isinstance(scene, Body)
    cameras = Cameras30().ring()[torch.tensor(azimuths)]
    return list(look(scene, cameras, size, mode))  # type: ignore[arg-type]


def compared(
    runs: Mapping[str, Sequence[Run | None]], scale: Scale, title: str, note: str,
    seconds: Mapping[str, list[float]] | None = None, size: int = 64,
) -> Findings:  # fmt: skip
    """Retrieval in three render types, the Janus score and distance to the truth of each group of runs.

    Args:
        runs: for each group a run of each of `scale.cases`; None where the scene ended empty, which counts as a miss.
        seconds: what each run of a group took, for a column of its own.
        size: of the picture's renders.
    """
    yardstick = Yardstick(scale.prompts, Evaluation())
    found, keys = {label: _means(group, scale, yardstick) for label, group in runs.items()}, (*MISSED, *THERE)
    rows: dict[str, list[Any]] = {}
    for label, group in runs.items():
        there = sum(run is not None for run in group)
        rows[label] = [f"{there} of {len(group)}", *(found[label][key] for key in keys)]
    truth = yardstick.truth()
    assert truth is not None
    rows["the world's own pictures"] = [None, *(truth.get(key) for key in keys)]
    names = ["scenes", *keys]
    if seconds is not None:
        names.append("processor seconds")
        rows = {label: [*row, summary(seconds.get(label, []))] for label, row in rows.items()}
    return Findings(
        title=title,
        text=table("method", names, rows)
        + "\n\nRuns whose scene ended empty count as misses in the columns of retrieval, kind and object; Janus score "
        f"and chamfer distance are of the scenes there are.{note}",
        values={**found, "truth": truth, **({} if seconds is None else {"seconds": dict(seconds)})},
        picture=_sheet(runs, size),
    )


def _means(group: Sequence[Run | None], scale: Scale, yardstick: Yardstick) -> dict[str, Any]:
    """Marks of a group, misses included."""
    rows = []
    for run, (prompt, _) in zip(group, scale.cases, strict=True):
        missed = {"prompt": prompt, **dict.fromkeys(MISSED, 0.0), **dict.fromkeys(THERE)}
        rows.append(missed if run is None else yardstick.marks(run))
    return means(rows)


def _sheet(runs: Mapping[str, Sequence[Run | None]], size: int) -> UInt8[ndarray, "h w 3"]:
    """Two views in three render types of one run of each group: of the prompt and seed that most groups have."""
    groups = list(runs.values())
    case = max(range(len(groups[0])), key=lambda i: sum(group[i] is not None for group in groups))
    pictures = [p for group in groups for mode in MODES for p in rendered(group[case], mode, size=size)]
    names = [label + ("" if group[case] is not None else ", empty") for label, group in runs.items()]
    labels = [f"{name}, {mode}" for name in names for mode in MODES for _ in range(2)]
    return labelled_sheet(torch.stack(pictures), labels, 6, scale=2 if size == 64 else 1)


@torch.no_grad()
def data_distance(pictures: Float[Tensor, "n 3 64 64"], prompt: str, count: int = 96) -> float:
    """Mean over pictures of how far the nearest of `count` true pictures of a prompt's object is.

    1 - cosine in the retriever's space; the true ones from random cameras, in random light, before random backdrops.
    """
    likeness = load_scorer("toybox").embed_pictures(pictures) @ _truth_embedded(prompt, count).T
    return float((1 - likeness.amax(1)).mean())


@cache
def _truth_embedded(prompt: str, count: int) -> Float[Tensor, "{count} dim"]:
    generator, spec = torch.Generator().manual_seed(0), spec_of(prompt)
    assert spec is not None
    cameras = OrbitSampler().draw(count, generator)
    lights, backdrops = LightSampler().draw(cameras, generator), BackdropSampler().draw(count, 64, generator)
    parts, truth = torch.arange(count).split(8), Truth(spec)
    true = torch.cat([truth.picture(cameras[i], lights[i], 64, backdrops[i]) for i in parts])
    return load_scorer("toybox").embed_pictures(true)


def sharpness(pictures: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels."""
    across, down = pictures.diff(dim=-1).abs().mean(), pictures.diff(dim=-2).abs().mean()
    return float((across + down) / 2)


def worked(run: Run, *stages: str) -> float:
    """Processor seconds of some stages: what they cost, whatever else the machine was doing."""
    return sum(float(run.metrics["processor_seconds_by_stage"][stage]) for stage in stages)
