"""Random lights, shading and backdrops: the distributions a recipe names, drawn with an explicit generator."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from .cameras import Cameras, direction
from .errors import bad, check_not_negative, check_positive, check_range, check_span
from .lights import Lights, Shading


@dataclass(frozen=True, kw_only=True)
class LightSampler:
    """One light a camera, usually on the camera's side: direction ~ camera direction + N(0, spread^2)."""

    spread: float = 0.6
    distance: float = 3.0
    ambient: tuple[float, float] = (0.4, 0.8)

    def __post_init__(self) -> None:
        check_not_negative("spread", self.spread)
        check_positive("distance", self.distance)
        check_span("ambient", self.ambient, 0, 1)

    def draw(self, cameras: Cameras, generator: torch.Generator) -> Lights:
        """Draw a light for each camera."""
        toward = direction(cameras.elevation_deg, cameras.azimuth_deg)
        toward = toward + self.spread * torch.randn(toward.shape, generator=generator)
        position = self.distance * torch.nn.functional.normalize(toward, dim=-1)
        low, high = self.ambient
        return Lights(position, low + (high - low) * torch.rand(len(cameras), generator=generator))


@dataclass(frozen=True, kw_only=True)
class ShadingSampler:
    """Albedo only at first, then shaded with a probability, a part of that textureless. Ref: DreamFusion App. A.2."""

    albedo_until: float = 0.07
    "Progress up to which only albedo is rendered."
    shaded: float = 0.75
    textureless: float = 0.5
    "Share of the shaded pictures without colour ..."
    normal: float = 0.0
    "... and of those that show normals instead."

    def __post_init__(self) -> None:
        for name in ("albedo_until", "shaded", "textureless", "normal"):
            check_range(name, getattr(self, name), 0, 1)
        if self.textureless + self.normal > 1:
            raise bad("normal", expected=f"at most what textureless leaves, {1 - self.textureless:g}", got=self.normal)

    def draw(self, progress: float, generator: torch.Generator) -> Shading:
        """The shading of a step."""
        lit, bare = torch.rand(2, generator=generator).tolist()
        if progress < self.albedo_until or lit >= self.shaded:
            return "albedo"
        if bare < self.textureless:
            return "textureless"
        return "normal" if bare < self.textureless + self.normal else "shaded"


@dataclass(frozen=True, kw_only=True)
class BackdropSampler:
    """Muted plain colours and straight gradients, as studio pictures have; linear rgb in [0, 1]."""

    grey: tuple[float, float] = (0.25, 1.0)
    tint: float = 0.12
    "Standard deviation of the colours around grey."
    gradient: float = 0.5
    "Share of the pictures with a gradient instead of one colour."

    def __post_init__(self) -> None:
        check_span("grey", self.grey, 0, 1)
        check_not_negative("tint", self.tint)
        check_range("gradient", self.gradient, 0, 1)

    def draw(self, n: int, size: int, generator: torch.Generator) -> Float[Tensor, "n 3 size size"]:
        """Draw `n` backdrops."""
        grey = self.grey[0] + (self.grey[1] - self.grey[0]) * torch.rand(n, 1, generator=generator)
        ends = (grey + self.tint * torch.randn(2, n, 3, generator=generator)).clamp(0, 1)
        angle = 2 * math.pi * torch.rand(n, 1, 1, generator=generator)
        axis = torch.linspace(-1, 1, size)
        ramp = (axis[None, :, None] * angle.sin() + axis[None, None, :] * angle.cos()) / (2 * math.sqrt(2)) + 0.5
        ramp = torch.where(torch.rand(n, 1, 1, generator=generator) < self.gradient, ramp, torch.zeros(()))[:, None]
        return ends[0][..., None, None] * (1 - ramp) + ends[1][..., None, None] * ramp


@dataclass(frozen=True, kw_only=True)
class DreamFusionLights:
    """Lights of DreamFusion: direction ~ N(camera position, I), norm ~ U(.8, 1.5); ambient .1, diffuse .9."""

    norm: tuple[float, float] = (0.8, 1.5)
    spread: float = 1.0
    ambient: float = 0.1

    def __post_init__(self) -> None:
        check_span("norm", self.norm, 0, 1e3)
        check_not_negative("spread", self.spread)
        check_range("ambient", self.ambient, 0, 1)

    def draw(self, cameras: Cameras, generator: torch.Generator) -> Lights:
        """Draw a light for each camera."""
        n = len(cameras)
        toward = cameras.position + self.spread * torch.randn(n, 3, generator=generator)
        norm = self.norm[0] + (self.norm[1] - self.norm[0]) * torch.rand(n, 1, generator=generator)
        return Lights(norm * torch.nn.functional.normalize(toward, dim=-1), torch.full((n,), self.ambient))
