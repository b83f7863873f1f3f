"""Marks of finished runs: retrieval precision in colour and geometry, distance to the truth, the Janus score."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.camera_samplers import RingSampler
from ..core.cameras import Cameras
from ..core.errors import ScoreliftError, bad
from ..core.lights import Lights, Shading
from ..distill.scorers import Scorer, load_scorer
from ..engine.outputs import load_asset
from ..engine.run import Run, final_scene
from ..scenes import Body, Scene
from ..toybox.grammar import parse, say
from ..toybox.judge import Judge, judge_pictures, load_judge
from ..toybox.spec import Spec, draw
from ..toybox.toys import KINDS
from ..toybox.truth import Truth
from .geometry import compare_geometry, compare_views
from .janus import VIEWS, janus_score, ring_cameras
from .retrieval import candidates, retrieve, summary

MODES: tuple[Shading, ...] = ("albedo", "shaded", "textureless")
BACKDROP = 0.85


@dataclass(frozen=True, kw_only=True)
class Cameras30:
    """The paper's cameras: 30 degrees of elevation, several azimuths. DreamFlow's: 15 degrees, 120 azimuths."""

    elevation_deg: float = 30.0
    azimuths: int = 8

    def ring(self) -> Cameras:
        """The cameras."""
        return RingSampler(count=self.azimuths, elevation_deg=self.elevation_deg).ring()


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is measured, and against what."""

    scorer: str = "toybox"
    "The offline retriever, or a CLIP model's hub id or folder."
    distractors: int = 153
    "Captions to choose from, drawn from the toybox unless a file gives them."
    cameras: Cameras30 = field(default_factory=Cameras30)
    seed: int = 0


def toybox_distractors(n: int, seed: int = 0) -> list[str]:
    """Different captions of the closed world."""
    import random

    rng = random.Random(f"distractors/{seed}")
    texts: dict[str, None] = {}
    while len(texts) < n:
        texts[say(draw(rng, train=False))] = None
    return list(texts)


@torch.no_grad()
def look(scene: Scene, cameras: Cameras, size: int, shading: Shading) -> Float[Tensor, "n 3 h w"]:
    """Pictures of a scene on light grey, lit from above the camera."""
    pictures = []
    for i in range(len(cameras)):
        camera = cameras[slice(i, i + 1)]
        lights = Lights(camera.position + 1.2 * camera.c2w[:, :3, 1], torch.tensor([0.4]))
        backdrop = torch.full((1, 3, 1, 1), BACKDROP)
        pictures.append(scene.render(camera, size, lights=lights, shading=shading, background=backdrop).rgb)
    return torch.cat(pictures)


@torch.no_grad()
def evaluate_runs(
    runs: Sequence[Run], settings: Evaluation, distractors: Sequence[str] | None = None
) -> dict[str, Any]:
    """Marks of each run and, with 95 % intervals over runs, their means.

    Raises:
        ScoreliftError: for a run that is unfinished or not a volume, or bad distractors.
    """
    if not runs:
        raise bad("runs", expected="at least one finished run", got="none")
    scorer = load_scorer(settings.scorer)
    judge, about = load_judge()
    others = toybox_distractors(settings.distractors, settings.seed) if distractors is None else list(distractors)
    choices, own = candidates([run.prompt for run in runs], others)
    texts = scorer.embed_texts(choices)
    board = Board(scorer, texts, [_kind(text) for text in choices])
    rows = [_marks(run, index, board, judge, settings) for run, index in zip(runs, own, strict=True)]
    keys = [key for key in rows[0] if key not in ("run", "prompt", "recipe")]
    means = {key: summary([row[key] for row in rows if row[key] is not None]) for key in keys}
    truth = _truth_row([run.prompt for run in runs], own, board, settings)
    header = {"scorer": scorer.name, "candidates": len(choices), "cameras": vars(settings.cameras), "judge": about}
    return {"settings": header, "truth": truth, "mean": means, "runs": rows}


@dataclass(frozen=True)
class Board:
    """The captions among which pictures find theirs."""

    scorer: Scorer
    texts: Float[Tensor, "m d"]
    kinds: list[str | None]
    "What each caption names, in the closed world."

    def marks(self, pictures: Float[Tensor, "n 3 h w"], own: int, mode: str) -> dict[str, float]:
        """R=1 and R=10, and how often the first caption names the right kind, which needs no colour."""
        found = retrieve(self.scorer.embed_pictures(pictures), self.texts, [own] * len(pictures))
        right = [self.kinds[i] is not None and self.kinds[i] == self.kinds[own] for i in found.first.tolist()]
        return {
            f"r1_{mode}": float(found.r1.mean()), f"r10_{mode}": float(found.r10.mean()),
            f"kind_{mode}": sum(right) / len(right),
        }  # fmt: skip


def _marks(run: Run, index: int, board: Board, judge: Judge, settings: Evaluation) -> dict[str, Any]:
    if not run.finished:
        raise bad("run", expected="a finished run", got=str(run.path), remedy="Continue it with --resume.")
    scene = final_scene(run).gridded()
    if not isinstance(scene, Body):
        raise bad("run", expected="a run of a 3-D recipe", got=f"{run.path} ({run.recipe.name})")
    row: dict[str, Any] = {"run": str(run.path), "prompt": run.prompt, "recipe": run.recipe.name}
    cameras = settings.cameras.ring()
    for mode in MODES:
        row |= board.marks(look(scene, cameras, board.scorer.size, mode), index, mode)
    spec = _spec(run.prompt)
    row |= dict.fromkeys(("object", "janus", "chamfer", "f_score", "normal_consistency", "iou", "psnr", "ssim"))
    if spec is None:
        return row
    around = look(scene, ring_cameras(), 64, "shaded")
    row["object"] = sum(kind == spec.kind for kind in judge_pictures(judge, around).object) / VIEWS
    if KINDS[spec.kind].has_front:
        row["janus"] = janus_score(judge, around)
    asset, truth = load_asset(run), Truth(spec)
    row |= {key: value for key, value in compare_geometry(asset, truth).items() if key != "yaw_deg"}
    return row | compare_views(asset, truth)


def _truth_row(prompts: Sequence[str], own: Sequence[int], board: Board, settings: Evaluation) -> Any:
    """Retrieval of the world's own pictures of the same captions: what the scorer can do at best."""
    specs = [_spec(prompt) for prompt in prompts]
    known = [(spec, index) for spec, index in zip(specs, own, strict=True) if spec is not None]
    if not known:
        return None
    cameras = settings.cameras.ring()
    hits: dict[str, list[float]] = defaultdict(list)
    for spec, index in known:
        lights = Lights(cameras.position + 1.2 * cameras.c2w[:, :3, 1], torch.full((len(cameras),), 0.4))
        for mode in ("shaded", "textureless"):
            pictures = Truth(spec).picture(cameras, lights, 64, textureless=mode == "textureless")
            for key, value in board.marks(pictures, index, mode).items():
                hits[key].append(value)
    return {key: summary(values) for key, values in hits.items()}


def _kind(caption: str) -> str | None:
    spec = _spec(caption)
    return None if spec is None else spec.kind


def _spec(prompt: str) -> Spec | None:
    try:
        return parse(prompt).spec
    except ScoreliftError:
        return None


COLUMNS = (
    "r1_albedo", "r1_shaded", "r1_textureless", "kind_textureless", "r10_textureless", "object", "janus", "chamfer",
    "f_score", "iou", "psnr",
)  # fmt: skip


def as_markdown(result: dict[str, Any]) -> str:
    """The result as a table, with the scorer's own accuracy on true pictures in its header."""
    settings, truth = result["settings"], result["truth"]
    lines = [f"Retrieval by {settings['scorer']} over {settings['candidates']} captions."]
    if truth is not None:
        r1 = truth["r1_shaded"]["mean"]
        warning = "" if r1 >= 0.8 else " That is low: read the retrieval columns with care."
        bare = truth["r1_textureless"]["mean"]
        found = f"it finds {r1:.1%} first, without colour {bare:.1%}."
        lines.append(f"On the world's own pictures of these captions {found}{warning}")
    lines += ["", "| run | prompt | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 2) + "|"]
    for row in result["runs"]:
        cells = ["" if row[key] is None else f"{row[key]:.3f}" for key in COLUMNS]
        lines.append(f"| {Path(row['run']).name} | {row['prompt']} | " + " | ".join(cells) + " |")
    cells = []
    for key in COLUMNS:
        mean = result["mean"][key]
        cells.append("" if mean is None else f"{mean['mean']:.3f} [{mean['low']:.3f}, {mean['high']:.3f}]")
    lines.append("| **mean [95 %]** | | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
