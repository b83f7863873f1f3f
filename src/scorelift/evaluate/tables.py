"""Marks as Markdown tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

COLUMNS = (
    "r1_albedo", "r1_shaded", "r10_shaded", "r1_textureless", "r1_shape", "kind_textureless", "object", "janus",
    "chamfer", "f_score", "normal_consistency", "iou", "psnr", "ssim",
)  # fmt: skip
LOW = 0.8
"Share of true pictures found below which a reader is warned."


def cell(value: Any) -> str:
    """A mean with its interval, or without where it is of one prompt alone; a plain value; a blank for None."""
    if value is None:
        return ""
    if isinstance(value, dict):
        spread = " (n = 1)" if value.get("n") == 1 else f" [{value['low']:.3f}, {value['high']:.3f}]"
        return f"{value['mean']:.3f}{spread}"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def as_markdown(result: dict[str, Any]) -> str:
    """What `evaluate_runs` found, with the scorer's own accuracy on true pictures in the header and the last row."""
    settings, truth = result["settings"], result["truth"]
    lines = [f"Retrieval by {settings['scorer']} over {settings['candidates']} captions."]
    if truth is not None:
        lines.append(_accuracy(truth))
    lines += ["", "| run | prompt | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for row in result["runs"]:
        lines.append(_line(Path(row["run"]).name, row["prompt"], row))
    lines.append(_line("**mean [95 % over prompts]**", "", result["mean"]))
    if truth is not None:
        lines.append(_line("the world's own pictures", "", truth))
    return "\n".join(lines) + "\n"


def _accuracy(truth: dict[str, Any]) -> str:
    """How well the scorer does on true pictures, and what follows for the columns."""
    lit, bare, kind = (truth[key]["mean"] for key in ("r1_shaded", "r1_textureless", "kind_textureless"))
    text = f"On the world's own pictures of these captions it finds {lit:.1%} first, without colour {bare:.1%}."
    if lit < LOW:
        text += " That is low: read the retrieval columns with care."
    if bare < LOW:
        text += f" Without colour it is low, since captions differ in colours: kind_textureless ({kind:.1%}) and"
        text += f" r1_shape ({truth['r1_shape']['mean']:.1%}), of captions that differ in shape, say more."
    return text


def _line(name: str, prompt: str, row: dict[str, Any]) -> str:
    return f"| {name} | {prompt} | " + " | ".join(cell(row.get(key)) for key in COLUMNS) + " |"
