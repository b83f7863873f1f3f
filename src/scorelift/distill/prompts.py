"""View-dependent prompting: the phrase for where the camera stands, after or before the prompt.

Ref: DreamFusion Sec. 3.2: "overhead view" above 60 degrees, else front, side or back by azimuth; the nearest phrase or
two interpolated. "bare" are the paper's own four (front, side, back, overhead) even where the prior knows finer ones.
SJC App. A3 says them before the prompt, and "overhead" from 30 degrees on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from ..core.cameras import Cameras
from ..priors.base import Condition, Prior, ViewWords
from .base import Terms

Choice = Literal["nearest", "interpolated", "bare", "none"]
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
        self.choice, self.prompt = choice, prompt
        phrases: dict[str, int] = {}
        for azimuth in range(len(self.words.azimuths)):
            for elevation in (0.0, self.words.low_deg - 1, self.words.low_deg + 1, self.words.high_deg + 1, 90.0):
                phrases.setdefault(self.words.phrase(azimuth, elevation), len(phrases) + 2)
        if choice == "none":
            phrases = {}
        self.row = phrases
        said = [f"{prompt}, {phrase}" if place == "after" else f"{phrase} of {prompt}" for phrase in phrases]
        self.encoded = prior.encode_prompts([negative, prompt, *said])

    def terms(self, cameras: Cameras) -> Terms:
        """The prompt's conditions for each camera."""
        n = len(cameras)
        plain, uncond = self.encoded.pick([1] * n), self.encoded.pick([0] * n)
        if self.choice == "none":
            return Terms(plain, plain, uncond, prompt=self.prompt)
        opposed, pose = self._opposed(cameras), cameras.c2w[:, :3].flatten(1)
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
