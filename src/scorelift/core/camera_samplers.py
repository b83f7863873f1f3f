"""Random cameras: the distributions a recipe names, drawn with an explicit generator; and rings for looking on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from .cameras import Cameras, direction, fov_for_size, look_at, orbit
from .errors import bad, check_at_least, check_not_negative, check_positive, check_range, check_span


def turned(cameras: Cameras, count: int) -> Cameras:
    """Each camera followed by the `count` - 1 others that it becomes when turned evenly about the vertical axis."""
    if count == 1:
        return cameras
    angle_deg = (torch.arange(count) * (360 / count)).repeat(len(cameras))
    angle = torch.deg2rad(angle_deg)
    turn = torch.eye(4).repeat(len(angle), 1, 1)
    turn[:, 0, 0], turn[:, 0, 1], turn[:, 1, 0], turn[:, 1, 1] = angle.cos(), -angle.sin(), angle.sin(), angle.cos()
    each = cameras[torch.arange(len(cameras)).repeat_interleave(count)]
    return Cameras(turn @ each.c2w, each.fovy_deg, each.elevation_deg, (each.azimuth_deg + angle_deg) % 360)


@dataclass(frozen=True, kw_only=True)
class CameraSampler(ABC):
    """What random cameras have in common."""

    group: int = 1
    "Cameras that stand together, evenly around at one elevation: for priors that see several views at once."

    def __post_init__(self) -> None:
        check_at_least("group", self.group)

    def draw(self, n: int, generator: torch.Generator) -> Cameras:
        """Draw `n` cameras, in groups: one at random, the others turned about the vertical axis.

        Raises:
            ScoreliftError: if `n` is not whole groups.
        """
        if n % self.group:
            raise bad("cameras.group", expected=f"a number that divides the stage's {n} views", got=self.group)
        return turned(self.draw_each(n // self.group, generator), self.group)

    @abstractmethod
    def draw_each(self, n: int, generator: torch.Generator) -> Cameras:
        """Draw `n` cameras without regard to groups."""


@dataclass(frozen=True, kw_only=True)
class OrbitSampler(CameraSampler):
    """Cameras around the object, any azimuth, far enough and zoomed so that it fills most of the frame."""

    elevation_deg: tuple[float, float] = (-10.0, 50.0)
    high_elevation_deg: tuple[float, float] = (50.0, 88.0)
    high_share: float = 0.28
    "Share of the cameras drawn from the high band."
    distance: tuple[float, float] = (2.0, 4.2)
    fill: tuple[float, float] = (0.68, 0.98)
    "Height of a ball of `radius` around the target, as a fraction of the picture."
    radius: float = 0.8
    target_std: float = 0.05
    even: bool = True
    "Several cameras drawn together stand one in each of as many equal sectors."

    def __post_init__(self) -> None:
        super().__post_init__()
        check_span("elevation_deg", self.elevation_deg, -90, 90)
        check_span("high_elevation_deg", self.high_elevation_deg, -90, 90)
        check_positive("radius", self.radius)
        check_not_negative("target_std", self.target_std)
        check_span("distance", self.distance, self.radius, 1e3)
        check_span("fill", self.fill, 0.05, 4)
        check_range("high_share", self.high_share, 0, 1)

    def draw_each(self, n: int, generator: torch.Generator) -> Cameras:
        def uniform(span: tuple[float, float]) -> Tensor:
            return span[0] + (span[1] - span[0]) * torch.rand(n, generator=generator)

        high = torch.rand(n, generator=generator) >= 1 - self.high_share
        elevation = torch.where(~high, uniform(self.elevation_deg), uniform(self.high_elevation_deg))
        distance, fill = uniform(self.distance), uniform(self.fill)
        target = self.target_std * torch.randn(n, 3, generator=generator)
        azimuth = uniform((0, 360))
        if self.even:
            azimuth = 360 * torch.rand(1, generator=generator) + (torch.arange(n) * 360 + azimuth) / n
        return orbit(elevation, azimuth % 360, distance, fov_for_size(self.radius, distance, fill), target)


FRAME = 0.7
"Height of a ball of radius .8 as a fraction of pictures for people: the unit ball, and so every object, is seen whole."


def ring(
    views: int, elevation_deg: float = 15.0, fill: float = 0.85, start_deg: float = 0.0, distance: float = 3.0,
    radius: float = 0.8, fov_deg: float | None = None,
) -> Cameras:  # fmt: skip
    """Cameras evenly around the object at one elevation, counter-clockwise from `start_deg` on.

    A ball of `radius` fills the share `fill` of the picture, unless the field of view is given.
    """
    elevation, away, share = (torch.full((views,), float(value)) for value in (elevation_deg, distance, fill))
    fov = torch.full((views,), float(fov_deg)) if fov_deg else fov_for_size(radius, away, share)
    azimuth = start_deg + 360 / views * torch.arange(views)
    return orbit(elevation, azimuth, away, fov)


@dataclass(frozen=True, kw_only=True)
class RingSampler:
    """Cameras that stand at `count` fixed azimuths of one elevation, chosen at random: for priors of known views."""

    count: int = 8
    elevation_deg: float = 15.0
    distance: float = 3.0
    fill: float = 0.85
    radius: float = 0.8

    def __post_init__(self) -> None:
        check_at_least("count", self.count)
        check_range("elevation_deg", self.elevation_deg, -90, 90)
        for name in ("distance", "fill", "radius"):
            check_positive(name, getattr(self, name))

    def ring(self) -> Cameras:
        """All of them, from the front on."""
        return ring(self.count, self.elevation_deg, self.fill, distance=self.distance, radius=self.radius)

    def draw(self, n: int, generator: torch.Generator) -> Cameras:
        """Draw `n` cameras, all different while they last."""
        chosen = [torch.randperm(self.count, generator=generator) for _ in range(-(-n // self.count))]
        return self.ring()[torch.cat(chosen)[:n]]


@dataclass(frozen=True, kw_only=True)
class DreamFusionCameras(CameraSampler):
    """Cameras of DreamFusion: Section 3.2 and "Additional camera and light sampling details" of Appendix A.2."""

    distance: tuple[float, float] = (1.0, 1.5)
    elevation_deg: tuple[float, float] = (-10.0, 90.0)
    even_area_share: float = 0.5
    "Share of cameras spread evenly over the half sphere's area; the others are uniform in the elevation angle."
    position_jitter: float = 0.1
    "Uniform offset of the position in each coordinate."
    target_std: float = 0.2
    up_std: float = 0.02
    focal: tuple[float, float] = (0.7, 1.35)
    "Focal length in picture widths."

    def __post_init__(self) -> None:
        super().__post_init__()
        check_span("elevation_deg", self.elevation_deg, -90, 90)
        check_span("distance", self.distance, 0.1, 1e3)
        check_span("focal", self.focal, 0.1, 100)
        check_range("even_area_share", self.even_area_share, 0, 1)
        for name in ("position_jitter", "target_std", "up_std"):
            check_not_negative(name, getattr(self, name))

    def draw_each(self, n: int, generator: torch.Generator) -> Cameras:
        """Draw `n` cameras; elevation and azimuth are those before the jitter."""

        def uniform(span: tuple[float, float], *shape: int) -> Tensor:
            return span[0] + (span[1] - span[0]) * torch.rand(n, *shape, generator=generator)

        by_angle = uniform(self.elevation_deg)
        by_area = torch.rad2deg(torch.asin(torch.rand(n, generator=generator)))
        even = torch.rand(n, generator=generator) < self.even_area_share
        elevation, azimuth, distance = torch.where(even, by_area, by_angle), uniform((0, 360)), uniform(self.distance)
        jitter = uniform((-self.position_jitter, self.position_jitter), 3)
        position = distance[:, None] * direction(elevation, azimuth) + jitter
        target = self.target_std * torch.randn(n, 3, generator=generator)
        up = torch.tensor([0.0, 0.0, 1.0]) + self.up_std * torch.randn(n, 3, generator=generator)
        fovy = torch.rad2deg(2 * torch.atan(0.5 / uniform(self.focal)))
        return Cameras(look_at(position, target, up), fovy, elevation, azimuth)


@dataclass(frozen=True, kw_only=True)
class HemisphereSampler(CameraSampler):
    """Cameras spread evenly over the upper half sphere, looking at the origin. Ref: SJC App. A3."""

    distance: float = 1.5
    fov_deg: tuple[float, float] = (40.0, 70.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_span("fov_deg", self.fov_deg, 1, 170)
        check_positive("distance", self.distance)

    def draw_each(self, n: int, generator: torch.Generator) -> Cameras:
        height, turn, zoom = torch.rand(3, n, generator=generator)
        low, high = self.fov_deg
        elevation = torch.rad2deg(torch.asin(height))
        return orbit(elevation, 360 * turn, torch.full((n,), self.distance), low + (high - low) * zoom)
