"""The embedded prior's marks: the judge reads its samples, and true pictures beside them."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor

from ..core.camera_samplers import OrbitSampler
from ..core.cameras import Cameras, joined, orbit
from ..core.errors import check_positive
from ..core.samplers import LightSampler
from ..priors.base import Prior
from ..priors.guidance import Guidance
from ..priors.sampling import sample
from ..toybox.data import Pictures
from ..toybox.grammar import say
from ..toybox.judge import VIEWS, Judge, judge_pictures, labels, load_judge
from ..toybox.palette import COLOUR_NAMES
from ..toybox.spec import FINISHES, Spec, Worn, draw, held_out, training_colours
from ..toybox.toys import KINDS
from ..toybox.truth import Truth
from ..toybox.views import View
from .retrieval import interval

_VIEW = {
    "front": View("front"), "left": View("left"), "right": View("right"), "back": View("back"),
    "overhead": View(elevation="overhead"),
}  # fmt: skip
_AZIMUTH = {"front": 0.0, "left": 90.0, "right": 270.0, "back": 180.0}


def draw_training_prompts(n: int, rng: random.Random) -> list[tuple[Spec, str]]:
    """Specs of the training split, each with one of the five views of the judge."""
    return [(draw(rng), rng.choice(VIEWS)) for _ in range(n)]


def draw_held_out_prompts(n: int, rng: random.Random) -> list[tuple[Spec, str]]:
    """Specs that show one held-out combination each: a colour, an accessory or a finish the kind never had."""
    pairs = sorted(held_out())
    prompts = []
    for _ in range(n):
        kind, trait = rng.choice(pairs)
        colour = trait if trait in COLOUR_NAMES else rng.choice(training_colours(kind))
        spec = Spec(kind, colour)
        if trait in FINISHES:
            spec = Spec(kind, colour, trait)
        elif trait not in COLOUR_NAMES:
            spec = Spec(kind, colour, worn=(Worn(trait),))
        prompts.append((spec, rng.choice(VIEWS)))
    return prompts


def draw_samples(
    prior: Prior, captions: list[str], *, cfg_scale: float, steps: int, seed: int, batch: int = 50,
    cameras: Cameras | None = None,
) -> Tensor:  # fmt: skip
    """One sample a caption, linear rgb; of the `cameras`, if they are told."""
    pictures = []
    for start in range(0, len(captions), batch):
        part = captions[start : start + batch]
        encoded = prior.encode_prompts([*part, ""])
        n = len(part)
        asked = encoded.pick(range(n))
        if cameras is not None:
            asked = prior.seen(asked, cameras[slice(start, start + n)])
        guidance = Guidance.cfg(asked, encoded.pick([n] * n), cfg_scale)
        generator = torch.Generator().manual_seed(seed * 7919 + start)
        pictures.append(prior.decode(sample(prior, guidance, generator=generator, steps=steps)))
    return torch.cat(pictures)


def camera_within(view: str, generator: torch.Generator) -> Cameras:
    """A camera within a view's range."""
    overhead = view == "overhead"
    span = (62.0, 85.0) if overhead else (-5.0, 45.0)
    camera = OrbitSampler(elevation_deg=span, high_share=0.0).draw(1, generator)
    if overhead:
        return camera
    offset = 70 * (float(torch.rand(1, generator=generator)) - 0.5)
    azimuth, distance = torch.tensor([(_AZIMUTH[view] + offset) % 360]), camera.position.norm(dim=-1)
    return orbit(camera.elevation_deg, azimuth, distance, camera.fovy_deg)


def true_pictures(prompts: list[tuple[Spec, str]], generator: torch.Generator) -> Tensor:
    """The world's own pictures of the prompts, from a camera within the view's range."""
    pictures = []
    for spec, view in prompts:
        camera = camera_within(view, generator)
        pictures.append(Truth(spec).picture(camera, LightSampler().draw(camera, generator)))
    return torch.cat(pictures)


def hits(judge: Judge, pictures: Tensor, prompts: list[tuple[Spec, str]]) -> dict[str, list[bool]]:
    """Whether the judge reads each picture as the prompt says; views only where they can be told apart.

    `colour` is either of the two of a finish: half of a striped toy has either, so "red with white stripes" and "white
    with red stripes" are one picture. `colour_main` asks for the one that the caption says first all the same.
    """
    seen = judge_pictures(judge, pictures)
    pairs = list(zip(prompts, seen.object, seen.colour, seen.view, strict=True))
    views = [(view, got) for (spec, view), _, _, got in pairs if view == "overhead" or KINDS[spec.kind].has_front]
    result = {
        "object": [spec.kind == got for (spec, _), got, _, _ in pairs],
        "colour": [got in spec.colours for (spec, _), _, got, _ in pairs],
        "colour_main": [spec.main_colour == got for (spec, _), _, got, _ in pairs],
        "view": [view == got for view, got in views],
    }
    return result | {f"view_{name}": [got == name for view, got in views if view == name] for name in VIEWS}


def _mean(hits: list[bool]) -> float:
    return sum(hits) / max(len(hits), 1)


def evaluate_prior(
    prior: Prior, *, n: int = 400, cfg_scale: float = 3.0, steps: int = 30, seed: int = 0
) -> dict[str, Any]:
    """Marks of a prior on `n` prompts of the training split and `n` held-out ones, and of true pictures.

    `intervals` has the 95 % interval, over prompts, of each of the prior's marks. `told_...` are those of a prior that
    is told a camera within the view's range, and no words for it.

    Raises:
        ScoreliftError: if there is no judge, or `n` is not positive.
    """
    check_positive("n", n)
    judge, about = load_judge()
    rng = random.Random(f"evaluate/{seed}")
    seen, unseen = draw_training_prompts(n, rng), draw_held_out_prompts(n, rng)
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[bool]] = {}
    truth: dict[str, float] = {}
    for prefix, prompts in (("", seen), ("heldout_", unseen)):
        captions = [say(spec, _VIEW[view]) for spec, view in prompts]
        pictures = draw_samples(prior, captions, cfg_scale=cfg_scale, steps=steps, seed=seed)
        found |= {prefix + k: v for k, v in hits(judge, pictures, prompts).items()}
        if prior.sighted and prior.views == 1:
            where = torch.Generator().manual_seed(seed + 1)
            cameras = joined([camera_within(view, where) for _, view in prompts])
            bare = [say(spec) for spec, _ in prompts]
            pictures = draw_samples(prior, bare, cfg_scale=cfg_scale, steps=steps, seed=seed, cameras=cameras)
            found |= {f"told_{prefix}{k}": v for k, v in hits(judge, pictures, prompts).items()}
        true = true_pictures(prompts, generator)
        truth |= {prefix + k: round(_mean(v), 4) for k, v in hits(judge, true, prompts).items()}
    result = {k: round(_mean(v), 4) for k, v in found.items()}
    intervals = {k: [round(end, 4) for end in (interval(v)[1:] if v else (0.0, 1.0))] for k, v in found.items()}
    settings = {"n": n, "cfg_scale": cfg_scale, "steps": steps, "seed": seed, "prior": prior.name}
    return {**result, "truth": truth, "intervals": intervals, "settings": settings, "judge": about}


def judge_on_truth(judge: Judge, pictures: Pictures, n: int = 2000, seed: int = 11) -> dict[str, float]:
    """The judge's accuracy on true pictures it was not trained on, question by question."""
    rng = random.Random(seed)
    right: dict[str, list[bool]] = {name: [] for name in ("object", "colour", "view", "finish")}
    for _ in range(n // 50):
        batch = pictures.draw(50, rng, train=False)
        target = labels(batch)
        with torch.no_grad():
            logits = judge(batch.pictures)
        for name, found in right.items():
            counted = target[name] >= 0
            found += (logits[name].argmax(-1) == target[name])[counted].tolist()
    return {name: round(_mean(found), 4) for name, found in right.items()}
