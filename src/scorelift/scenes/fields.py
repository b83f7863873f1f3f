"""What a volume is made of: a field of density and albedo, the samples at which rays read it, and their sums.

Ref: DreamFusion Sec. 3.1: Eq. 5 (quadrature), Eq. 7 (diffuse shading), normals from the density's gradient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import ScoreliftError, bad
from ..core.lights import Shading
from ..kernels.composite import BETA, sum_packed, weights_packed
from .base import Single


class Lookup(ABC):
    """A field at some points; each property is computed when asked for."""

    @abstractmethod
    def density(self) -> Float[Tensor, " n"]:
        """Density per unit length, at least 0."""

    @abstractmethod
    def albedo(self) -> Float[Tensor, "n c"]:
        """Linear rgb in [0, 1], or a latent prior's channels."""

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


@dataclass(frozen=True)
class Rays:
    """Rays, and the light each is lit by."""

    origin: Float[Tensor, "r 3"]
    direction: Float[Tensor, "r 3"]
    "Unit vectors."
    jitter: Float[Tensor, " r"]
    "Where in their intervals a ray's samples lie, in [0, 1)."
    light: Float[Tensor, "r 3"] | None = None
    ambient: Float[Tensor, " r"] | None = None

    def split(self, count: int) -> Iterator[Rays]:
        """Parts of at most so many rays."""
        for start in range(0, max(len(self.jitter), 1), count):
            part = slice(start, start + count)
            some: dict[str, Any] = {name: None if t is None else t[part] for name, t in vars(self).items()}
            yield Rays(**some)


@dataclass(frozen=True)
class Sums:
    """What rays gather from a field, before any background: sums over samples of weight w, depth t and normal n."""

    colour: Float[Tensor, "r c"]
    opacity: Float[Tensor, " r"]
    depth: Float[Tensor, " r"]
    "Of w t."
    fog: Float[Tensor, " r"]
    "Of log(1 + 10 w)."
    normal: Float[Tensor, "r 3"] | None = None
    "Of w n."
    turned: Float[Tensor, " r"] | None = None
    "Of w max(0, n . v)^2, w without gradient."

    @staticmethod
    def joined(parts: Sequence[Sums]) -> Sums:
        """Sums of rays that were taken in parts."""
        joined: dict[str, Any] = {
            name: None if value is None else torch.cat([getattr(part, name) for part in parts])
            for name, value in vars(parts[0]).items()
        }
        return Sums(**joined)


class Field(Single, ABC):
    """Density and albedo as functions of position, inside a ball around the origin."""

    extent: float
    "Radius of the ball."
    detail: float
    "Size of its smallest features; the step at which surfaces are looked at."
    oriented: bool = False
    "Whether unlit pictures have normals as well."

    @property
    def reach(self) -> float:
        """Distance from the origin beyond which its density is 0."""
        return self.extent

    @abstractmethod
    def at(self, xyz: Float[Tensor, "n 3"]) -> Lookup:
        """The field at points; outside the ball its density is 0."""

    def density_at(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Density alone."""
        return self.at(xyz).density()

    @abstractmethod
    def march(
        self, origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"], jitter: Float[Tensor, " r"]
    ) -> March:
        """Samples of rays (unit directions), enough to integrate the field along them.

        Args:
            jitter: where in their intervals a ray's samples lie, in [0, 1).
        """

    def integrate(self, rays: Rays, shading: Shading) -> Sums:
        """Quadrature along rays, the samples' colours as `shading` has them; "albedo" has normals if `oriented`."""
        count = len(rays.origin)
        march = self.march(rays.origin, rays.direction, rays.jitter)
        weight, _ = weights_packed(march.lookup.density(), march.delta, march.ray, count)
        normal = march.lookup.normal() if shading != "albedo" or self.oriented else None
        colour = _colour(march, rays, shading, normal)
        c = colour.shape[-1]
        columns = [colour, torch.ones_like(march.depth)[:, None], march.depth[:, None]]
        columns += [] if normal is None else [normal]
        total = sum_packed(weight[:, None] * torch.cat(columns, -1), march.ray, count)
        fog = sum_packed(torch.log1p(BETA * weight)[:, None], march.ray, count)[:, 0]
        if normal is None:
            return Sums(total[:, :c], total[:, c], total[:, c + 1], fog)
        facing = (normal * rays.direction[march.ray]).sum(-1)
        turned = sum_packed((weight.detach() * facing.clamp_min(0).square())[:, None], march.ray, count)[:, 0]
        return Sums(total[:, :c], total[:, c], total[:, c + 1], fog, total[:, c + 2 :], turned)

    @abstractmethod
    def groups(self, rate: float) -> list[dict]:
        """Every parameter, in optimizer groups with learning rates relative to `rate`."""

    def roughness(self) -> Float[Tensor, ""]:
        """How much neighbouring places differ."""
        raise ScoreliftError(f"roughness: a {type(self).__name__} has no such penalty; leave its weight at 0.")

    def update(self, step: int, progress: float) -> None:
        """Called before each step."""


def _colour(march: March, rays: Rays, shading: Shading, normal: Tensor | None) -> Float[Tensor, "n c"]:
    """Colour of each sample under the chosen shading."""
    if shading == "albedo" or normal is None:
        return march.lookup.albedo()
    if shading == "normal":
        return (normal + 1) / 2
    if rays.light is None or rays.ambient is None:
        raise bad("lights", expected=f"lights for {shading!r} shading", got=None)
    toward = F.normalize(rays.light[march.ray] - march.xyz, dim=-1)
    ambient = rays.ambient[march.ray]
    shade = (ambient + (1 - ambient) * (normal * toward).sum(-1).clamp_min(0))[:, None]
    return shade.expand(-1, 3) if shading == "textureless" else shade * march.lookup.albedo()


def ball_span(
    origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"], radius: float
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Distances at which rays enter and leave the centred ball, in front of the origin; equal where they miss."""
    nearest = -(origin * direction).sum(-1)
    reach = radius**2 - (origin + nearest[:, None] * direction).square().sum(-1)
    half = reach.clamp_min(0).sqrt()
    near, far = (nearest - half).clamp_min(0), (nearest + half).clamp_min(0)
    return near, torch.where(reach > 0, far, near)


def box_span(
    origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"], half: float
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Distances at which rays enter and leave [-half, half]^3, in front of the origin; equal where they miss."""
    safe = torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    a, b = (-half - origin) / safe, (half - origin) / safe
    near = torch.minimum(a, b).amax(-1).clamp_min(0)
    return near, torch.maximum(torch.maximum(a, b).amin(-1), near)
