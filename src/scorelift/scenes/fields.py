"""What a volume is made of: a field of density and albedo, and the samples at which rays read it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..core.errors import ScoreliftError


class Lookup(ABC):
    """A field at some points; each property is computed when asked for."""

    @abstractmethod
    def density(self) -> Float[Tensor, " n"]:
        """Density per unit length, at least 0."""

    @abstractmethod
    def albedo(self) -> Float[Tensor, "n 3"]:
        """Linear rgb in [0, 1]."""

    @abstractmethod
    def normal(self) -> Float[Tensor, "n 3"]:
        """Unit vectors against the density's gradient (0 where it vanishes)."""


@dataclass(frozen=True)
class March:
    """Samples of rays through a field, packed ray after ray."""

    ray: Int[Tensor, " n"]
    depth: Float[Tensor, " n"]
    delta: Float[Tensor, " n"]
    "Length of ray each sample stands for."
    xyz: Float[Tensor, "n 3"]
    lookup: Lookup


class Field(nn.Module, ABC):
    """Density and albedo as functions of position, inside a ball around the origin."""

    extent: float
    "Radius of the ball."
    detail: float
    "Size of its smallest features; the step at which surfaces are looked at."

    @abstractmethod
    def at(self, xyz: Float[Tensor, "n 3"]) -> Lookup:
        """The field at points; outside the ball its density is 0."""

    @abstractmethod
    def march(
        self, origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"], jitter: Float[Tensor, " r"]
    ) -> March:
        """Samples of rays (unit directions), enough to integrate the field along them.

        Args:
            jitter: where in their intervals a ray's samples lie, in [0, 1).
        """

    @abstractmethod
    def groups(self, rate: float) -> list[dict]:
        """Every parameter, in optimizer groups with learning rates relative to `rate`."""

    def roughness(self) -> Float[Tensor, ""]:
        """How much neighbouring places differ."""
        raise ScoreliftError(f"roughness: a {type(self).__name__} has no such penalty; leave its weight at 0.")

    def update(self, step: int, progress: float) -> None:
        """Called before each step."""


def ball_span(
    origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"], radius: float
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Distances at which rays enter and leave the centred ball, in front of the origin; equal where they miss."""
    nearest = -(origin * direction).sum(-1)
    reach = radius**2 - (origin + nearest[:, None] * direction).square().sum(-1)
    half = reach.clamp_min(0).sqrt()
    near, far = (nearest - half).clamp_min(0), (nearest + half).clamp_min(0)
    return near, torch.where(reach > 0, far, near)
