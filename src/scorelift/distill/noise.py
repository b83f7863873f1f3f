"""Which noise level a step distills at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from ..core.diffusion import Level
from ..core.errors import bad, check_choice, check_positive
from ..core.schedules import Constant, Ramp, Schedule
from ..priors.base import Prior


@dataclass(frozen=True, kw_only=True)
class Times:
    """t ~ U(low, high), the bounds themselves functions of progress, in the prior's own time (1 the noisiest).

    Constant bounds are DreamFusion's random noise levels; falling bounds are annealing.
    """

    low: Schedule = Constant(0.02)
    high: Schedule = Constant(0.98)

    def draw(self, prior: Prior, n: int, progress: float, generator: torch.Generator) -> Level:
        """Noise levels of `n` pictures.

        Raises:
            ScoreliftError: if the bounds leave (0, 1) or cross.
        """
        low, high = self.low.at(progress), self.high.at(progress)
        if not 0 < low <= high < 1:
            raise bad("noise times", expected="0 < low <= high < 1", got=f"low {low:g}, high {high:g}")
        return prior.schedule.level(low + (high - low) * torch.rand(n, generator=generator))


def annealed(start: float, end: float, spread: float = 0.1) -> Times:
    """Times that fall straight from `start` to `end`, uniform over a window `spread` wide."""
    half = spread / 2
    return Times(low=Ramp(start - half, max(end - half, 0.005)), high=Ramp(start + half, end + half))


@dataclass(frozen=True, kw_only=True)
class Sigmas:
    """The same noise for all pictures of a step, falling from `high` to `low`, in units of the picture (sigma_ve).

    Ref: SJC Sec. 5.1, annealed schedules; Karras et al. (2022), Eq. 5.
    """

    high: float = 12.2
    low: float = 0.098
    curve: Literal["log", "karras"] = "log"
    "Straight in log sigma, or in sigma^(1 / rho)."
    rho: float = 7.0

    def __post_init__(self) -> None:
        check_positive("low", self.low)
        check_positive("rho", self.rho)
        check_choice("curve", self.curve, ("log", "karras"))
        if self.high < self.low:
            raise bad("high", expected=f"at least low, {self.low:g}", got=self.high)

    def at(self, progress: float) -> float:
        """The noise at a moment."""
        if self.curve == "log":
            return self.high ** (1 - progress) * self.low**progress
        power = 1 / self.rho
        return (self.high**power * (1 - progress) + self.low**power * progress) ** self.rho

    def draw(self, prior: Prior, n: int, progress: float, generator: torch.Generator) -> Level:
        """Noise levels of `n` pictures.

        Raises:
            ScoreliftError: if the prior was not trained at such a level.
        """
        low, high = prior.sigma_range
        if not low <= self.low <= self.high <= high:
            raise bad("noise sigmas", expected=f"within the prior's range, {low:g} to {high:g}",
                      got=f"{self.low:g} to {self.high:g}")  # fmt: skip
        return Level.vp(torch.full((n,), self.at(progress)))
