"""Signed distances: a set of query points with the primitives that measure the distance to them.

Every method that moves the points returns new points, so a part of a toy reads as one line:
`p.at(0.3, 0, 0.9).sphere(0.26)` is a ball of radius 0.26 centred at (0.3, 0, 0.9).
Coordinates are tensors of shape (B, N); sizes are floats or tensors (B, 1), so that one call measures a batch of
toys of different proportions. Distances are exact or a lower bound (safe for sphere tracing), negative inside.

Ref: Hart, "Sphere tracing" (1996); the primitives are the textbook ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

Size = float | Tensor


@dataclass(frozen=True, slots=True)
class Points:
    """Query points, one tensor (B, N) a coordinate, in the toy's own frame: front +x, left +y, up +z."""

    x: Tensor
    y: Tensor
    z: Tensor

    @staticmethod
    def of(xyz: Tensor) -> Points:
        """Points from a tensor (B, N, 3)."""
        return Points(*xyz.unbind(-1))

    # --- moving -------------------------------------------------------------------------------------------------
    def at(self, x: Size, y: Size, z: Size) -> Points:
        """Place the following primitive at (x, y, z)."""
        return Points(self.x - x, self.y - y, self.z - z)

    def scaled(self, scale: Size) -> Points:
        """Coordinates divided by `scale`; multiply the measured distance by `scale` to come back."""
        return Points(self.x / scale, self.y / scale, self.z / scale)

    def mirror(self) -> Points:
        """Whatever follows on the left (+y) stands on the right too."""
        return Points(self.x, self.y.abs(), self.z)

    def mirror_x(self) -> Points:
        """Whatever follows in front (+x) stands behind too."""
        return Points(self.x.abs(), self.y, self.z)

    def along_x(self) -> Points:
        """Lay the following primitive's z axis along +x."""
        return Points(-self.z, self.y, self.x)

    def along_y(self) -> Points:
        """Lay the following primitive's z axis along +y."""
        return Points(self.x, -self.z, self.y)

    def tilt(self, deg: float) -> Points:
        """Tip the following primitive's top toward the front (+x) by `deg`."""
        c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
        return Points(c * self.x - s * self.z, self.y, s * self.x + c * self.z)

    def lean(self, deg: float) -> Points:
        """Tip the following primitive's top toward the left (+y) by `deg`."""
        c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
        return Points(self.x, c * self.y - s * self.z, s * self.y + c * self.z)

    def spin(self, deg: float) -> Points:
        """Turn the following primitive about the vertical by `deg`, front toward left."""
        c, s = math.cos(math.radians(deg)), math.sin(math.radians(deg))
        return Points(c * self.x + s * self.y, c * self.y - s * self.x, self.z)

    def repeat_around(self, n: int) -> Points:
        """Whatever follows near the +x axis stands `n` times around the vertical."""
        step = 2 * math.pi / n
        angle = torch.atan2(self.y, self.x)
        angle = angle - step * torch.round(angle / step)
        rho = self.rho()
        return Points(rho * torch.cos(angle), rho * torch.sin(angle), self.z)

    def rho(self) -> Tensor:
        """Distance from the z axis."""
        return torch.sqrt(self.x * self.x + self.y * self.y)

    # --- primitives, centred at the origin ----------------------------------------------------------------------
    def sphere(self, r: Size) -> Tensor:
        return torch.sqrt(self.x * self.x + self.y * self.y + self.z * self.z) - r

    def ellipsoid(self, rx: Size, ry: Size, rz: Size) -> Tensor:
        """Lower bound by the gradient-normalized implicit function."""
        ax, ay, az = self.x / rx, self.y / ry, self.z / rz
        k0 = torch.sqrt(ax * ax + ay * ay + az * az)
        bx, by, bz = ax / rx, ay / ry, az / rz
        k1 = torch.sqrt(bx * bx + by * by + bz * bz).clamp_min(1e-6)
        return k0 * (k0 - 1) / k1

    def box(self, hx: Size, hy: Size, hz: Size, rounding: float = 0.0) -> Tensor:
        """Box of half sizes (hx, hy, hz), its edges rounded within that size."""
        dx, dy, dz = (self.x.abs() - hx + rounding, self.y.abs() - hy + rounding, self.z.abs() - hz + rounding)
        ox, oy, oz = dx.clamp_min(0), dy.clamp_min(0), dz.clamp_min(0)
        outside = torch.sqrt(ox * ox + oy * oy + oz * oz)
        inside = torch.maximum(torch.maximum(dx, dy), dz).clamp_max(0)
        return outside + inside - rounding

    def cylinder(self, r: Size, half: Size, rounding: float = 0.0) -> Tensor:
        """Upright cylinder of radius `r` and half height `half`."""
        dr, dz = self.rho() - r + rounding, self.z.abs() - half + rounding
        orr, oz = dr.clamp_min(0), dz.clamp_min(0)
        return torch.sqrt(orr * orr + oz * oz) + torch.maximum(dr, dz).clamp_max(0) - rounding

    def cone(self, bottom: Size, top: Size, half: Size) -> Tensor:
        """Upright cone stump: radius `bottom` at z = -half, `top` at z = +half (lower bound)."""
        slope = (bottom - top) / (2 * half)
        norm = (1 + slope * slope) ** 0.5
        radius = bottom - slope * (self.z + half)
        return torch.maximum((self.rho() - radius) / norm, self.z.abs() - half)

    def torus(self, major: Size, minor: Size) -> Tensor:
        """Ring around the z axis."""
        q = self.rho() - major
        return torch.sqrt(q * q + self.z * self.z) - minor

    def capsule(self, dx: Size, dy: Size, dz: Size, r: Size) -> Tensor:
        """Thick line from the origin to (dx, dy, dz)."""
        length2 = dx * dx + dy * dy + dz * dz
        h = ((self.x * dx + self.y * dy + self.z * dz) / length2).clamp(0, 1)
        ex, ey, ez = self.x - h * dx, self.y - h * dy, self.z - h * dz
        return torch.sqrt(ex * ex + ey * ey + ez * ez) - r

    def gable(self, half_x: Size, half_y: Size, height: Size) -> Tensor:
        """Roof of triangular section: base half_y wide at z = 0, ridge along x at z = height (lower bound)."""
        norm = (height * height + half_y * half_y) ** 0.5
        side = (height * self.y.abs() + half_y * (self.z - height)) / norm
        return torch.maximum(torch.maximum(side, self.x.abs() - half_x), -self.z)


def blend(a: Tensor, b: Tensor, k: float) -> Tensor:
    """Union of two distances with the seam smoothed over a width `k`."""
    h = (k - (a - b).abs()).clamp_min(0) / k
    return torch.minimum(a, b) - h * h * (k / 4)


def carve(a: Tensor, b: Tensor) -> Tensor:
    """The solid `a` without the solid `b`."""
    return torch.maximum(a, -b)


def common(a: Tensor, b: Tensor) -> Tensor:
    """What two solids share."""
    return torch.maximum(a, b)
