"""Marks of finished runs: retrieval precision in colour and geometry, distance to the truth, the Janus score."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from copy import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.camera_samplers import RingSampler
from ..core.cameras import Cameras
from ..core.errors import bad, check_range, check_seed
from ..core.lights import Lights, Shading
from ..distill.scorers import Scorer, load_scorer
from ..engine.outputs import load_asset
from ..engine.results import final_scene
from ..engine.run import Run
from ..scenes import Body, Scene
from ..toybox.grammar import say
from ..toybox.judge import Judge, judge_pictures, load_judge
from ..toybox.spec import Spec, draw
from ..toybox.toys import KINDS
from ..toybox.truth import Truth
from .geometry import compare_geometry, compare_views
from .janus import VIEWS, janus_score, ring_cameras
from .retrieval import candidates, meaning, of_each_shape, retrieve, shape, spec_of, summary

MODES: tuple[Shading, ...] = ("albedo", "shaded", "textureless")
BACKDROP = 0.85
MOST_DISTRACTORS = 2000
"As many as are drawn in two seconds; captions that differ become rare."
MOST_DRAWS = 20_000
"For captions of different shapes, of which the closed world has fewer than four hundred."


@dataclass(frozen=True, kw_only=True)
class Cameras30:
    """The paper's cameras: 30 degrees of elevation, several azimuths. DreamFlow's: 15 degrees, 120 azimuths."""

    elevation_deg: float = 30.0
    azimuths: int = 8

    def __post_init__(self) -> None:
        check_range("cameras.elevation_deg", self.elevation_deg, -90, 90)
        check_range("cameras.azimuths", self.azimuths, 1, 3600)

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

    def __post_init__(self) -> None:
        check_range("distractors", self.distractors, 1, MOST_DISTRACTORS)
        check_seed(self.seed)


def toybox_distractors(n: int, seed: int = 0, captions: Iterable[str] = ()) -> list[str]:
    """Different captions of the closed world, none of which means the same as one of `captions`."""
    rng = random.Random(f"distractors/{seed}")
    texts: dict[str, None] = {}
    said = {meaning(caption) for caption in captions}
    while len(texts) < n:
        text = say(draw(rng, train=False))
        if meaning(text) not in said:
            texts[text] = None
    return list(texts)


def toybox_shapes(n: int, seed: int = 0, captions: Iterable[str] = ()) -> list[str]:
    """Captions of the closed world, no two of which, nor any of `captions`, have one shape; `n`, or what there are."""
    rng, taken = random.Random(f"shapes/{seed}"), {shape(caption) for caption in captions}
    texts: list[str] = []
    for _ in range(MOST_DRAWS):
        if len(texts) == n:
            break
        text = say(draw(rng, train=False))
        if shape(text) not in taken:
            texts.append(text)
            taken.add(shape(text))
    return texts


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
def true_pictures(truth: Truth, cameras: Cameras, size: int, shading: Shading) -> Float[Tensor, "n 3 h w"]:
    """The world's own pictures, as `look` takes a scene's."""
    ambient = torch.full((len(cameras),), 1.0 if shading == "albedo" else 0.4)
    lights, side = Lights(cameras.position + 1.2 * cameras.c2w[:, :3, 1], ambient), -(-size // 4) * 4
    parts = [slice(i, i + 8) for i in range(0, len(cameras), 8)]
    bare = shading == "textureless"
    return torch.cat([truth.picture(cameras[part], lights[part], side, textureless=bare) for part in parts])


class Board:
    """Captions among which pictures find theirs."""

    def __init__(self, captions: Sequence[str], scorer: Scorer) -> None:
        self.captions, self.texts = list(captions), scorer.embed_texts(captions)
        self.kinds = [spec.kind if (spec := spec_of(text)) is not None else None for text in captions]

    def among(self, captions: Sequence[str]) -> Board:
        """The same with some of its captions alone."""
        board, rows = copy(self), [self.captions.index(text) for text in captions]
        board.captions, board.texts, board.kinds = list(captions), self.texts[rows], [self.kinds[i] for i in rows]
        return board

    def marks(self, pictures: Float[Tensor, "n d"], own: str, mode: str) -> dict[str, float | None]:
        """R=1 and R=10, and how often the first caption names the right kind, which needs no colour."""
        found = retrieve(pictures, self.texts, [mine := self.captions.index(own)] * len(pictures))
        right = [self.kinds[i] == self.kinds[mine] for i in found.first.tolist()]
        return {
            f"r1_{mode}": float(found.r1.mean()),
            f"r10_{mode}": float(found.r10.mean()) if len(self.captions) > 10 else None,
            f"kind_{mode}": None if self.kinds[mine] is None else sum(right) / len(right),
        }  # fmt: skip


class Yardstick:
    """What runs of some prompts are measured by: captions to choose from, the judge, the truth.

    Raises:
        ScoreliftError: for bad distractors, or a prompt of another world, which the offline retriever cannot rank.
    """

    def __init__(self, prompts: Iterable[str], settings: Evaluation, distractors: Sequence[str] | None = None) -> None:
        self.settings, self.prompts = settings, list(dict.fromkeys(prompts))
        if settings.scorer == "toybox" and (strange := [p for p in self.prompts if spec_of(p) is None]):
            raise bad("prompt", expected="one of the closed world, which is all that the toybox retriever knows",
                      got=strange[0], remedy="Give a CLIP model's hub id or folder by --scorer.")  # fmt: skip
        n, seed, shapes = settings.distractors, settings.seed, distractors
        if distractors is None:
            if strange := [prompt for prompt in self.prompts if spec_of(prompt) is None]:
                raise bad("captions", expected=f"a file of captions of the world of {strange[0]!r}", got="none",
                          remedy="Give one by --captions: among toys anybody finds it.")  # fmt: skip
            distractors = toybox_distractors(n, seed, self.prompts)
        choices, _ = candidates(self.prompts, distractors)
        shapes = toybox_shapes(n, seed, self.prompts) if shapes is None else shapes
        self.scorer = load_scorer(settings.scorer)
        self.board = Board(choices, self.scorer)
        self.shapes = Board(list(dict.fromkeys([*self.prompts, *shapes])), self.scorer)
        self.judge, self.about = load_judge()

    def _retrieval(self, prompt: str, take: Callable[[Shading], Float[Tensor, "n 3 h w"]]) -> dict[str, Any]:
        """Marks of the pictures taken in each shading; of those without colour also among captions of other shapes."""
        seen = {mode: self.scorer.embed_pictures(take(mode)) for mode in MODES}
        row: dict[str, Any] = {}
        for mode, pictures in seen.items():
            row |= self.board.marks(pictures, prompt, mode)
        shapes = self.shapes.among(of_each_shape([prompt, *self.shapes.captions]))
        return row | {"r1_shape": shapes.marks(seen["textureless"], prompt, "shape")["r1_shape"]}

    @property
    def header(self) -> dict[str, Any]:
        """How runs are measured."""
        count = len(self.board.captions)
        return {"scorer": self.scorer.name, "candidates": count, "cameras": vars(self.settings.cameras),
                "judge": self.about}  # fmt: skip

    def marks(self, run: Run) -> dict[str, Any]:
        """The marks of a run of one of the prompts; None where the closed world does not know its object.

        Raises:
            ScoreliftError: for a run that is unfinished or not of a 3-D recipe.
        """
        check_finished(run)
        scene = final_scene(run).gridded()
        if not isinstance(scene, Body):
            raise bad("run", expected="a run of a 3-D recipe", got=f"{run.path} ({run.recipe.name})")
        row: dict[str, Any] = {"run": str(run.path), "prompt": run.prompt, "recipe": run.recipe.name}
        cameras, size = self.settings.cameras.ring(), self.scorer.size
        row |= self._retrieval(run.prompt, lambda mode: look(scene, cameras, size, mode))
        row |= dict.fromkeys(("object", "janus", "chamfer", "f_score", "normal_consistency", "iou", "psnr", "ssim"))
        spec = spec_of(run.prompt)
        if spec is None:
            return row
        row |= judged(self.judge, look(scene, ring_cameras(), 64, "shaded"), spec)
        asset, truth = load_asset(run), Truth(spec)
        row |= {key: value for key, value in compare_geometry(asset, truth).items() if key != "yaw_deg"}
        return row | compare_views(asset, truth)

    def truth(self) -> dict[str, Any] | None:
        """What retriever and judge say of the world's own pictures of the prompts: what they can do at best."""
        cameras, rows = self.settings.cameras.ring(), []
        for prompt in self.prompts:
            if (spec := spec_of(prompt)) is None:
                continue
            truth = Truth(spec)
            row = {"prompt": prompt} | self._retrieval(prompt, partial(true_pictures, truth, cameras, self.scorer.size))
            rows.append(row | judged(self.judge, true_pictures(truth, ring_cameras(), 64, "shaded"), spec))
        return means(rows) if rows else None


def check_different(runs: Sequence[Run]) -> None:
    """Raise if a run is given twice."""
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise bad("runs", expected="different runs", got=", ".join(str(run.path) for run in runs))


def check_finished(run: Run) -> None:
    """Raise unless the run is finished."""
    if not run.finished:
        latest, last = run.latest_checkpoint(), list(run.recipe.stages())[-1]
        done = latest is not None and latest[2:] == (last, run.recipe.stages()[last].steps)
        remedy = "Continue it with --resume" + (", which says what keeps it from an asset." if done else ".")
        raise bad("run", expected="a finished run", got=str(run.path), remedy=remedy)


def judged(judge: Judge, around: Float[Tensor, "12 3 64 64"], spec: Spec) -> dict[str, float | None]:
    """Share of views the judge names rightly, and, of objects with a front, the Janus score."""
    right = sum(kind == spec.kind for kind in judge_pictures(judge, around).object) / VIEWS
    return {"object": right, "janus": janus_score(judge, around) if KINDS[spec.kind].has_front else None}


def means(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean of each mark with its 95 % interval over prompts, whose seeds are drawn together; None is left out."""
    result: dict[str, Any] = {}
    for key in dict.fromkeys(key for row in rows for key in row if key not in ("run", "prompt", "recipe")):
        there = [row for row in rows if row.get(key) is not None]
        result[key] = summary([row[key] for row in there], [row["prompt"] for row in there])
    return result


def evaluate_runs(
    runs: Sequence[Run], settings: Evaluation, distractors: Sequence[str] | None = None
) -> dict[str, Any]:
    """Marks of each run and, with 95 % intervals over prompts, their means.

    Raises:
        ScoreliftError: for a run that is unfinished, flat, or, offline, of another world; for bad distractors.
    """
    if not runs:
        raise bad("runs", expected="at least one finished run", got="none")
    for run in runs:
        check_finished(run)
    yardstick = Yardstick((run.prompt for run in runs), settings, distractors)
    rows = [yardstick.marks(run) for run in runs]
    return {"settings": yardstick.header, "truth": yardstick.truth(), "mean": means(rows), "runs": rows}
