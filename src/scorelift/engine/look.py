"""What a step saw, and what is written down of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..distill.base import Terms
from .portions import Portions


@dataclass(frozen=True)
class Look:
    """What one part of a step's views gave; its share of the scene's gradient is already added."""

    terms: Terms
    z: Tensor
    gradient: Tensor
    "On z, one a picture."
    time: float
    penalty: Tensor
    opacity: Tensor
    generator: torch.Generator
    "After all draws of the step: the twin's come next."


@dataclass(frozen=True)
class StepLog:
    """What one step did."""

    step: int
    progress: float
    time: float
    "Mean noise time of the step, as sigma_t / (alpha_t + sigma_t)."
    gradient: float
    "Root mean square of the distiller's gradient on z."
    penalty: float
    opacity: float
    twin: float | None = None
    "Loss of the distiller's twin, if it has one."
    slices: int | None = None
    "Parts the views were taken in, where memory did not hold what the stage asks for ..."
    bands: int | None = None
    "... and the bands of their rays."

    @staticmethod
    def of(looks: Sequence[Look], step: int, progress: float, twin: float | None, instead: Portions | None) -> StepLog:
        """Of a step's parts, each by its share of the views; `instead`: portions other than the stage's."""
        total = sum(len(look.z) for look in looks)
        shares = [len(look.z) / total for look in looks]

        def mean(values: Sequence[float]) -> float:
            return sum(share * value for share, value in zip(shares, values, strict=True))

        return StepLog(
            step=step,
            progress=progress,
            time=mean([look.time for look in looks]),
            gradient=float(torch.cat([look.gradient for look in looks]).square().mean().sqrt()),
            penalty=mean([float(look.penalty) for look in looks]),
            opacity=mean([float(look.opacity) for look in looks]),
            twin=twin,
            slices=instead.slices if instead else None,
            bands=instead.bands if instead else None,
        )
