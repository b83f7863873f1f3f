"""Which noise level a step distills at."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..core.diffusion import Level
from ..core.errors import bad
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
