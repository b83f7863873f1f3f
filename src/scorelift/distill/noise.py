"""Which noise level a step distills at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.diffusion import Level
from ..core.errors import bad, check_choice, check_positive, check_range
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
        """Noise levels of `n` pictures, one for those that the prior sees together.

        Raises:
            ScoreliftError: if the bounds leave (0, 1) or cross.
        """
        low, high = self.low.at(progress), self.high.at(progress)
        if not 0 < low <= high < 1:
            raise bad("noise times", expected="0 < low <= high < 1", got=f"low {low:g}, high {high:g}")
        return prior.together(prior.schedule.level(low + (high - low) * torch.rand(n, generator=generator)))


def annealed(start: float, end: float, spread: float = 0.1) -> Times:
    """Times that fall straight from `start` to `end`, uniform over a window `spread` wide."""
    half = spread / 2
    return Times(low=Ramp(start - half, max(end - half, 0.005)), high=Ramp(start + half, end + half))


@dataclass(frozen=True, kw_only=True)
class DreamTime:
    """Times that fall slowly where they matter: at progress p, the time above which the share p of all weight lies.

    Weight: sigma_ve(t) exp(-(t - middle)^2 / (2 width^2)), how noisy a time is and how much it shapes.

    Ref: Huang et al., "DreamTime" (2024), Sec. 3.
    """

    middle: float = 0.5
    width: float = 0.125
    low: float = 0.02
    high: float = 0.98

    def __post_init__(self) -> None:
        check_positive("width", self.width)
        check_range("middle", self.middle, 0, 1)
        if not 0 < self.low < self.high < 1:
            raise bad("noise times", expected="0 < low < high < 1", got=f"low {self.low:g}, high {self.high:g}")

    def time(self, prior: Prior, progress: float) -> float:
        """The time of a moment."""
        times = torch.linspace(self.high, self.low, 1000, dtype=torch.float64)
        weight = prior.schedule.level(times).sigma_ve * torch.exp(-((times - self.middle) ** 2) / (2 * self.width**2))
        share = weight.cumsum(0) / weight.sum()
        return float(times[int(torch.searchsorted(share, min(progress, 1.0)).clamp_max(len(times) - 1))])

    def draw(self, prior: Prior, n: int, progress: float, generator: torch.Generator) -> Level:
        """The level of a moment, for `n` pictures."""
        return prior.schedule.level(torch.full((n,), self.time(prior, progress)))


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


@dataclass(frozen=True, kw_only=True)
class Trajectory:
    """A sampler's noise levels one after the other, each for the same number of steps.

    Ref: DreamFlow Sec. 3.2, "predetermined timestep schedule"; Karras et al. (2022), Eq. 5.
    """

    start: float = 1.0
    end: float = 0.2
    """Times of the first level and of that after the last, in the prior's own time: 1 is the noisiest it knows, 0 no
    noise at all."""
    levels: int = 800
    curve: Literal["time", "log", "karras"] = "time"
    "Levels evenly apart in the prior's time, in log sigma, or in sigma^(1/7)."

    def __post_init__(self) -> None:
        check_positive("levels", self.levels)
        check_choice("curve", self.curve, ("time", "log", "karras"))
        if not 0 <= self.end < self.start <= 1:
            raise bad("noise", expected="0 <= end < start <= 1", got=f"{self.start:g} to {self.end:g}")

    def sigmas(self, prior: Prior) -> Float[Tensor, " n"]:
        """Noise of the levels, decreasing, and of the one after the last.

        Raises:
            ScoreliftError: for levels at which the prior was not trained.
        """
        schedule = prior.schedule
        known = schedule.time(torch.tensor(prior.sigma_range, dtype=torch.float64))
        low, high = known.clamp(1e-6, 1 - 1e-6).tolist()
        for name, time, free in (("start", self.start, 1), ("end", self.end, 0)):
            if time != free and not low - 1e-3 <= time <= high + 1e-3:
                raise bad(f"noise.{name}", expected=f"a time between {low:.3f} and {high:.3f}, which the prior knows, "
                          f"or {free}, for {'its noisiest' if free else 'none'}", got=time)  # fmt: skip
        # No noise is a level of its own: those before it go down to the least that the prior knows.
        share = torch.linspace(0, 1, self.levels + (self.end > 0), dtype=torch.float64)
        first, last = min(self.start, high), max(self.end, low)
        ends = schedule.level(torch.tensor([first, last], dtype=torch.float64)).sigma_ve
        if self.curve == "time":
            sigmas = schedule.level(first + share * (last - first)).sigma_ve
        elif self.curve == "log":
            sigmas = ends[0] ** (1 - share) * ends[1] ** share
        else:
            sigmas = (ends[0] ** (1 / 7) * (1 - share) + ends[1] ** (1 / 7) * share) ** 7
        return sigmas if self.end > 0 else torch.cat([sigmas, sigmas.new_zeros(1)])

    def draw(self, prior: Prior, n: int, progress: float, generator: torch.Generator) -> Level:
        """The level of a moment, for `n` pictures, with its decay."""
        sigmas = self.sigmas(prior)
        i = min(int(progress * self.levels + 1e-6), self.levels - 1)  # 29 / 100 * 100 is 28.999...
        level = Level.vp(sigmas[i].float().repeat(n))
        return Level(level.alpha_t, level.sigma_t, ((sigmas[i] - sigmas[i + 1]) / sigmas[i]).float().repeat(n))


Noise = Times | DreamTime | Sigmas | Trajectory
