"""Names for where a camera stands, as captions say them: eight azimuths, three elevations and overhead."""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..core.errors import check_choice

AZIMUTHS = ("front", "front left", "left", "back left", "back", "back right", "right", "front right")
ELEVATIONS = ("low", "high", "overhead")
OVERHEAD_DEG = 60.0
HIGH_DEG = 35.0
LOW_DEG = 8.0


@dataclass(frozen=True)
class View:
    """What a caption says of the view. `azimuth` "side" is either side; None says nothing of it."""

    azimuth: str | None = None
    elevation: str | None = None

    def __post_init__(self) -> None:
        if self.azimuth is not None:
            check_choice("azimuth", self.azimuth, (*AZIMUTHS, "side"))
        if self.elevation is not None:
            check_choice("elevation", self.elevation, ELEVATIONS)

    def mirrored(self) -> View:
        """The view's name after the picture is flipped left to right."""
        if self.azimuth is None:
            return self
        swap = {"left": "right", "right": "left"}
        return View(" ".join(swap.get(word, word) for word in self.azimuth.split()), self.elevation)


def wrap_deg(azimuth_deg: float) -> float:
    """The same azimuth in [-180, 180)."""
    return (azimuth_deg + 180) % 360 - 180


def fine_azimuth(azimuth_deg: float) -> str:
    """Nearest of the eight named azimuths."""
    return AZIMUTHS[round((azimuth_deg % 360) / 45) % 8]


def quadrant(azimuth_deg: float) -> str:
    """front, left, back or right: the quadrant an azimuth lies in."""
    return ("front", "left", "back", "right")[int(((azimuth_deg + 45) % 360) // 90)]


def draw_view(elevation_deg: float, azimuth_deg: float, rng: random.Random) -> View:
    """What a caption may say of a camera: nothing, the coarse words, or the fine ones."""
    if rng.random() < 0.10:
        return View()
    fine = fine_azimuth(azimuth_deg)
    coarse = quadrant(azimuth_deg)
    if coarse in ("left", "right") and rng.random() < 0.5:
        coarse = "side"
    azimuth = fine if rng.random() < 0.7 else coarse
    if elevation_deg > OVERHEAD_DEG:
        return View(azimuth if rng.random() < 0.6 else None, "overhead")
    elevation = "high" if elevation_deg > HIGH_DEG else "low" if elevation_deg < LOW_DEG else None
    return View(azimuth, elevation if rng.random() < 0.6 else None)


def best_view(elevation_deg: float, azimuth_deg: float) -> View:
    """The most that words can say of a camera."""
    azimuth = fine_azimuth(azimuth_deg)
    if elevation_deg > OVERHEAD_DEG:
        return View(azimuth, "overhead")
    return View(azimuth, "high" if elevation_deg > HIGH_DEG else "low" if elevation_deg < LOW_DEG else None)
