"""Scalars that change over a run, as functions of its progress in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import bad, check_finite


@dataclass(frozen=True)
class Constant:
    """The same value throughout."""

    value: float

    def __post_init__(self) -> None:
        check_finite("value", self.value)

    def at(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class Ramp:
    """From `start` to `end` between two moments, straight or (with `log`) straight in the logarithm; flat outside."""

    start: float
    end: float
    begin: float = 0.0
    until: float = 1.0
    log: bool = False

    def __post_init__(self) -> None:
        for name in ("start", "end", "begin", "until"):
            check_finite(name, getattr(self, name))
        if self.log and min(self.start, self.end) <= 0:
            raise bad("log", expected="a start and an end above 0", got=f"{self.start:g} to {self.end:g}")

    def at(self, progress: float) -> float:
        share = min(max((progress - self.begin) / max(self.until - self.begin, 1e-12), 0.0), 1.0)
        if self.log:
            return math.exp(math.log(self.start) * (1 - share) + math.log(self.end) * share)
        return self.start * (1 - share) + self.end * share


@dataclass(frozen=True)
class Steps:
    """`values[i]` from moment `moments[i]` on; the first moment is 0."""

    moments: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        check_finite("moments", *self.moments)
        check_finite("values", *self.values)
        if len(self.moments) != len(self.values):
            raise bad("values", expected=f"one for each of the {len(self.moments)} moments", got=len(self.values))
        if not self.moments or self.moments[0] != 0 or list(self.moments) != sorted(set(self.moments)):
            raise bad("moments", expected="moments that begin with 0 and grow", got=self.moments)

    def at(self, progress: float) -> float:
        return max(zip(self.moments, self.values, strict=True), key=lambda pair: (pair[0] <= progress, pair[0]))[1]


@dataclass(frozen=True)
class WarmupCosine:
    """Straight from `start` to `peak` up to moment `warmup`, then a half cosine down to `end`."""

    start: float
    peak: float
    end: float
    warmup: float

    def __post_init__(self) -> None:
        for name in ("start", "peak", "end"):
            check_finite(name, getattr(self, name))
        if not 0 <= self.warmup < 1:
            raise bad("warmup", expected="a moment from 0 on, before 1", got=self.warmup)

    def at(self, progress: float) -> float:
        if progress < self.warmup:
            return self.start + (self.peak - self.start) * progress / self.warmup
        share = min((progress - self.warmup) / (1 - self.warmup), 1.0)
        return self.end + (self.peak - self.end) * (1 + math.cos(math.pi * share)) / 2


Schedule = Constant | Ramp | Steps | WarmupCosine


def extremes(schedule: Schedule) -> tuple[float, ...]:
    """Values between which a schedule stays."""
    if isinstance(schedule, Constant):
        return (schedule.value,)
    if isinstance(schedule, Steps):
        return schedule.values
    ends = (schedule.start, schedule.end)
    return ends if isinstance(schedule, Ramp) else (*ends, schedule.peak)
