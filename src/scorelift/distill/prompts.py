"""View-dependent prompting: the phrase for where the camera stands, after or before the prompt.

Ref: DreamFusion Sec. 3.2: "overhead view" above 60 degrees, else front, side or back by azimuth; the nearest phrase or
two interpolated. "bare" are the paper's own four (front, side, back, overhead) even where the prior knows finer ones.
SJC App. A3 says them before the prompt, and "overhead" from 30 degrees on. "camera" tells the camera itself, and no
phrase, to a prior that can be told it, and says the nearest phrase to others. A prior of several views is always told
the cameras, with and without the prompt (as MVDream's authors do).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..core.cameras import Cameras
from ..core.errors import bad
from ..priors.base import Condition, Prior, ViewWords
from .base import Terms

Choice = Literal["camera", "nearest", "interpolated", "bare", "none"]
Place = Literal["after", "before"]


class ViewPrompts:
    """A prompt encoded once with every view phrase its prior knows."""

    def __init__(
        self, prior: Prior, prompt: str, *, choice: Choice = "nearest", negative: str = "", place: Place = "after",
        overhead_deg: float | None = None,
    ) -> None:  # fmt: skip
        self.words: ViewWords = ViewWords() if choice == "bare" else prior.view_words
        if overhead_deg is not None:
            self.words = replace(self.words, overhead_deg=overhead_deg)
        seen = prior.views > 1 or (choice == "camera" and prior.sighted)
        self.choice: Choice = "camera" if seen else "nearest" if choice == "camera" else choice
        self.prompt, self.prior = prompt, prior
        phrases: dict[str, int] = {}
        for azimuth in range(len(self.words.azimuths)):
            for elevation in (0.0, self.words.low_deg - 1, self.words.low_deg + 1, self.words.high_deg + 1, 90.0):
                phrases.setdefault(self.words.phrase(azimuth, elevation), len(phrases) + 2)
        if self.choice in ("camera", "none"):
            phrases = {}
        self.row = phrases
        said = [f"{prompt}, {phrase}" if place == "after" else f"{phrase} of {prompt}" for phrase in phrases]
        self.encoded = prior.encode_prompts([negative, prompt, *said])

    def terms(self, cameras: Cameras) -> Terms:
        """The prompt's conditions for each camera.

        Raises:
            ScoreliftError: if the prior sees several views and the cameras are not groups of so many.
        """
        n = len(cameras)
        plain, uncond = self.encoded.pick([1] * n), self.prior.unwanted(self.encoded.pick([0] * n))
        pose = cameras.c2w[:, :3].flatten(1)
        if self.choice == "camera":
            full = self.prior.seen(plain, cameras)
            if self.prior.views > 1:
                check_groups(cameras, self.prior)
                plain, uncond = full, self.prior.seen(uncond, cameras)
            return Terms(full, plain, uncond, prompt=self.prompt, pose=pose)
        if self.choice == "none":
            return Terms(plain, plain, uncond, prompt=self.prompt, pose=pose)
        opposed = self._opposed(cameras)
        views = list(zip(cameras.elevation_deg.tolist(), cameras.azimuth_deg.tolist(), strict=True))
        if self.choice != "interpolated":
            rows = [self.row[self.words.phrase(self.words.nearest(a), e)] for e, a in views]
            return Terms(self.encoded.pick(rows), plain, uncond, opposed, self.prompt, pose)
        return Terms(self._interpolated(views), plain, uncond, opposed, self.prompt, pose)

    def _opposed(self, cameras: Cameras) -> tuple[tuple[Condition, Tensor], ...]:
        """The level phrases of front, left, back and right (as far as the prior tells them apart), for Perp-Neg.

        A phrase is opposed to a camera by (1 - cos) / 2 of the angle between them, at most 1 for the far side; phrases
        that also name the camera's own side are not opposed. From overhead nothing is.
        """
        count = len(self.words.azimuths)
        azimuth = cameras.azimuth_deg
        level = (cameras.elevation_deg <= self.words.overhead_deg).to(azimuth.dtype)
        terms = []
        for phrase in dict.fromkeys(self.words.azimuths[i * count // 4] for i in range(min(4, count))):
            named = [360 * i / count for i, other in enumerate(self.words.azimuths) if other == phrase]
            gaps = torch.stack([torch.deg2rad(azimuth - angle) for angle in named])
            amount = ((1 - gaps.cos()) / 2).amin(0)
            amount = torch.where(amount < 0.14, torch.zeros_like(amount), amount) * level
            terms.append((self.encoded.pick([self.row[phrase]] * len(cameras)), amount))
        return tuple(terms)

    def _interpolated(self, views: list[tuple[float, float]]) -> Condition:
        count = len(self.words.azimuths)
        weights = torch.zeros(len(views), len(self.encoded))
        for i, (elevation, azimuth) in enumerate(views):
            place = (azimuth % 360) * count / 360
            left, share = int(place) % count, place - int(place)
            for index, weight in ((left, 1 - share), ((left + 1) % count, share)):
                weights[i, self.row[self.words.phrase(index, elevation)]] += weight
        return self.encoded.mix(weights)


def check_groups(cameras: Cameras, prior: Prior) -> None:
    """Raise unless cameras stand in a prior's groups: evenly around, at one elevation, distance and field of view."""
    prior.check_views(len(cameras))
    views = prior.views
    level = torch.stack([cameras.elevation_deg, cameras.fovy_deg, cameras.position.norm(dim=-1)]).unflatten(
        1, (-1, views)
    )
    azimuth = (cameras.azimuth_deg % 360).unflatten(0, (-1, views)).sort(-1).values
    gaps = (azimuth.roll(-1, -1) - azimuth) % 360
    if (level - level[..., :1]).abs().max() > 0.01 or (gaps - 360 / views).abs().max() > 0.1:
        raise bad("cameras", expected=f"groups of {views}, evenly around at one elevation, distance and field of view",
                  got=f"azimuths {', '.join(f'{a:.0f}' for a in cameras.azimuth_deg[:views].tolist())} first",
                  remedy=f"Set the stage's cameras.group to {views}, in one process.")  # fmt: skip
