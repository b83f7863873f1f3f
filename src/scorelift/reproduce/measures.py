"""How groups of runs are measured and shown beside each other."""

from __future__ import annotations

import torch
from torch import Tensor

from ..core.pictures import labelled_sheet
from ..engine.run import Run, final_scene
from ..evaluate.assets import Cameras30, Evaluation, evaluate_runs, look
from ..evaluate.retrieval import summary
from ..scenes import Body
from .bench import Findings, table

FRONT_LEFT, BACK_RIGHT = 1, 5
"""Of the eight azimuths of `Cameras30`."""


def rendered(run: Run, mode: str, azimuths: tuple[int, ...] = (FRONT_LEFT, BACK_RIGHT)) -> list[Tensor]:
    """Pictures (3, 64, 64) of a run's scene at 30 degrees of elevation."""
    scene = final_scene(run)
    assert isinstance(scene, Body)
    cameras = Cameras30().ring()[torch.tensor(azimuths)]
    return list(look(scene, cameras, 64, mode))  # type: ignore[arg-type]


def compared(
    runs: dict[str, list[Run]], title: str, note: str, seconds: dict[str, list[float]] | None = None
) -> Findings:
    """Retrieval in three render types, the Janus score and distance to the truth of each group of runs.

    Groups without a run, whose scenes all ended empty, have a row of blanks.

    Args:
        seconds: what each run of a group took, for a column of its own.
    """
    keys = (
        "r1_albedo",
        "r1_shaded",
        "r1_textureless",
        "kind_textureless",
        "r10_textureless",
        "object",
        "janus",
        "chamfer",
    )
    results = {label: evaluate_runs(group, Evaluation()) for label, group in runs.items() if group}
    truth = next(iter(results.values()))["truth"]
    rows = {
        label: [len(group), *([results[label]["mean"][key] for key in keys] if group else [None] * len(keys))]
        for label, group in runs.items()
    }
    rows["the world's own pictures"] = [None, *(truth.get(key) for key in keys)]
    names = ["scenes", *keys]
    if seconds is not None:
        names.append("processor seconds")
        rows = {label: [*row, summary(seconds[label]) if seconds.get(label) else None] for label, row in rows.items()}
    modes = ("albedo", "shaded", "textureless")
    first = {label: group[0] for label, group in runs.items() if group}
    pictures = [p for run in first.values() for mode in modes for p in rendered(run, mode)]
    labels = [f"{label}, {mode}" for label in first for mode in modes for _ in range(2)]
    return Findings(
        title=title,
        text=table("method", names, rows) + note,
        values={label: result["mean"] for label, result in results.items()}
        | {"truth": truth}
        | ({} if seconds is None else {"seconds": seconds}),
        picture=labelled_sheet(torch.stack(pictures), labels, 6),
    )


def sharpness(pictures: Tensor) -> float:
    """Mean absolute difference of neighbouring pixels."""
    across, down = pictures.diff(dim=-1).abs().mean(), pictures.diff(dim=-2).abs().mean()
    return float((across + down) / 2)
