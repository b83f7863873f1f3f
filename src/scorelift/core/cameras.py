"""Pinhole cameras on an orbit, and the rays through their pixels.

World: right-handed, +z up, the object's front faces +x. Azimuth 0 puts the camera on +x, positive toward +y (the
object's left); elevation is measured from the horizon. `c2w` has OpenGL axes: camera x right, y up, -z forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Window:
    """A square part of each camera's picture, `size` pixels wide, from a corner on."""

    row: Int[Tensor, " b"]
    column: Int[Tensor, " b"]
    size: int

    def finer(self, factor: int) -> Window:
        """The same part of pictures with `factor` times as many rows and columns."""
        return Window(self.row * factor, self.column * factor, self.size * factor)


@dataclass(frozen=True)
class Cameras:
    """A batch of pinhole cameras with square pixels."""

    c2w: Float[Tensor, "b 4 4"]
    fovy_deg: Float[Tensor, " b"]
    elevation_deg: Float[Tensor, " b"]
    azimuth_deg: Float[Tensor, " b"]

    def __len__(self) -> int:
        return self.c2w.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Cameras:
        return Cameras(self.c2w[index], self.fovy_deg[index], self.elevation_deg[index], self.azimuth_deg[index])

    @property
    def position(self) -> Float[Tensor, "b 3"]:
        """Camera centres in the world."""
        return self.c2w[:, :3, 3]

    @property
    def numbers(self) -> Float[Tensor, "b 13"]:
        """What a network is told of each: the upper three rows of its pose, and its field of view in degrees."""
        return torch.cat([self.c2w[:, :3].flatten(1), self.fovy_deg[:, None]], 1)

    def to(self, device: torch.device | str) -> Cameras:
        return Cameras(*(t.to(device) for t in (self.c2w, self.fovy_deg, self.elevation_deg, self.azimuth_deg)))

    def rays(
        self, height: int, width: int, window: Window | None = None
    ) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b h w 3"]]:
        """Ray origins, one a camera, and unit directions through the pixel centres, all or those of a window."""
        tan = torch.tan(torch.deg2rad(self.fovy_deg) / 2)[:, None, None]
        if window is None:
            rows, columns = (torch.arange(n, device=tan.device)[None] for n in (height, width))
        else:
            along = torch.arange(window.size, device=tan.device)
            rows, columns = (corner.to(tan.device)[:, None] + along for corner in (window.row, window.column))
        y = 1 - (rows + 0.5) * (2 / height)
        x = ((columns + 0.5) * (2 / width) - 1) * (width / height)
        cam = torch.stack(
            torch.broadcast_tensors(x[:, None, :] * tan, y[:, :, None] * tan, -torch.ones_like(tan)), dim=-1
        )
        cam = cam / cam.norm(dim=-1, keepdim=True)
        return self.position, torch.einsum("bij,bhwj->bhwi", self.c2w[:, :3, :3], cam)


def joined(cameras: Sequence[Cameras]) -> Cameras:
    """Several batches of cameras as one."""
    parts = [(c.c2w, c.fovy_deg, c.elevation_deg, c.azimuth_deg) for c in cameras]
    return Cameras(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def look_at(
    position: Float[Tensor, "b 3"], target: Float[Tensor, "b 3"], up: Float[Tensor, "b 3"]
) -> Float[Tensor, "b 4 4"]:
    """Camera-to-world matrices (OpenGL axes) at `position`, looking at `target`."""
    back = torch.nn.functional.normalize(position - target, dim=-1)
    right = torch.nn.functional.normalize(torch.linalg.cross(up, back, dim=-1), dim=-1)
    true_up = torch.linalg.cross(back, right, dim=-1)
    c2w = torch.eye(4, dtype=position.dtype, device=position.device).repeat(len(position), 1, 1)
    c2w[:, :3, 0], c2w[:, :3, 1], c2w[:, :3, 2], c2w[:, :3, 3] = right, true_up, back, position
    return c2w


def direction(elevation_deg: Float[Tensor, " b"], azimuth_deg: Float[Tensor, " b"]) -> Float[Tensor, "b 3"]:
    """Unit vectors from the origin toward (elevation, azimuth)."""
    elevation, azimuth = torch.deg2rad(elevation_deg), torch.deg2rad(azimuth_deg)
    return torch.stack([elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()], dim=-1)


def orbit(
    elevation_deg: Float[Tensor, " b"],
    azimuth_deg: Float[Tensor, " b"],
    distance: Float[Tensor, " b"],
    fovy_deg: Float[Tensor, " b"],
    target: Float[Tensor, "b 3"] | None = None,
) -> Cameras:
    """Cameras on a sphere around `target` (default: the origin), upright; elevation stays under 89.9 degrees."""
    elevation_deg = elevation_deg.clamp(-89.9, 89.9)
    if target is None:
        target = torch.zeros(len(elevation_deg), 3, dtype=elevation_deg.dtype, device=elevation_deg.device)
    position = target + distance[:, None] * direction(elevation_deg, azimuth_deg)
    up = torch.zeros_like(position)
    up[:, 2] = 1
    return Cameras(look_at(position, target, up), fovy_deg, elevation_deg, azimuth_deg)


def fov_for_size(radius: float, distance: Float[Tensor, " b"], fill: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Vertical field of view (degrees) in which a ball of `radius` at `distance` fills the share `fill` of the height.

    The ball's silhouette has half angle asin(radius / distance).
    """
    half = torch.tan(torch.asin((radius / distance).clamp_max(0.999))) / fill
    return torch.rad2deg(2 * torch.atan(half))
