"""From a visitor's camera to ours, and the picture that fills the visitor's window.

The browser's cameras have OpenCV axes (x right, y down, +z forward), their rotation is a quaternion w, x, y, z to the
world; ours have OpenGL axes (y up, -z forward). Both worlds are right-handed with +z up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import UInt8

from ..core.cameras import Cameras
from ..core.pictures import to_uint8
from ..export.shots import Shot, mesh_from, scene_from
from ..export.texture import Asset
from ..scenes import Scene
from ..scenes.projection import quaternion_matrix

LEAST, WIDEST = 1.0, 170.0
"Degrees of the fields of view that can be rendered."

SLENDEREST = 32.0
"Longer side over shorter of windows that are filled; a collapsed one has no shape."


@dataclass(frozen=True)
class View:
    """Where a visitor stands, and the shape of the window."""

    wxyz: tuple[float, float, float, float]
    "Rotation from OpenCV camera axes to the world."
    position: tuple[float, float, float]
    fov: float
    "Vertical field of view, in radians."
    aspect: float = 1.0
    "Width over height."


def camera_of(view: View) -> Cameras:
    """Our camera of a view, of square pictures that hold the window: their side is its longer one."""
    c2w = torch.eye(4)[None]
    c2w[0, :3, :3] = quaternion_matrix(torch.tensor([view.wxyz]))[0] * torch.tensor([1.0, -1.0, -1.0])
    c2w[0, :3, 3] = torch.tensor(view.position)
    x, y, z = view.position
    half = math.tan(view.fov / 2) * max(view.aspect, 1.0)
    fov_deg = min(max(math.degrees(2 * math.atan(half)), LEAST), WIDEST)
    elevation, azimuth = math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))
    return Cameras(c2w, torch.tensor([fov_deg]), torch.tensor([elevation]), torch.tensor([azimuth]))


def window(longest: int, aspect: float) -> tuple[int, int]:
    """Height and width of the picture for a window, both even, so that it lies in the middle of the square's pixels.

    >>> window(512, 16 / 9), window(511, 1.0), window(256, 0.5)
    ((288, 512), (510, 510), (256, 128))
    """
    side = max(longest // 2, 4) * 2
    short = max(2, 2 * round(side * min(aspect, 1 / aspect) / 2))
    return (short, side) if aspect >= 1 else (side, short)


def frame(subject: Scene | Asset, view: View, shot: Shot) -> UInt8[np.ndarray, "h w 3"]:
    """What a visitor sees of a scene or a mesh.

    Args:
        shot: what is shown, in what light; its resolution is that of the window's longer side, its camera is not used.
    """
    height, width = window(shot.resolution, view.aspect)
    side = max(height, width)
    shot, camera = replace(shot, resolution=side), camera_of(view)
    square = mesh_from(subject, camera, shot) if isinstance(subject, Asset) else scene_from(subject, camera, shot)
    top, left = (side - height) // 2, (side - width) // 2
    return to_uint8(square[:, top : top + height, left : left + width])
