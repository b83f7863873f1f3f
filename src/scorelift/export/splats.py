"""Gaussians as a PLY of points, the format that viewers and game engines read splats from.

Ref: Kerbl et al. (2023), public code: a colour is 0.5 + C0 f_dc, the constant spherical harmonic's share; opacities are
raw (before the sigmoid), scales are logarithms, rotations quaternions (w, x, y, z). Axes as in the other formats (+y
up, front +z).
"""

from __future__ import annotations

import math

import numpy as np
import torch

from ..core.axes import TO_GLTF
from ..scenes import Gaussians

C0 = 1 / (2 * math.sqrt(math.pi))
PROPERTIES = (
    "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0",
    "rot_1", "rot_2", "rot_3",
)  # fmt: skip


@torch.no_grad()
def to_splats(gaussians: Gaussians) -> bytes:
    """One little-endian PLY file of the living."""
    rows = gaussians.living()
    place = gaussians.place[rows].cpu().numpy() @ TO_GLTF.T
    w, x, y, z = torch.nn.functional.normalize(gaussians.rotation[rows], dim=-1).cpu().unbind(-1)
    # After a third of a turn against (1, 1, 1), the quaternion (1, -1, -1, -1) / 2, which is TO_GLTF.
    turned = torch.stack([w + x + y + z, -w + x - z + y, -w + y - x + z, -w + z - y + x], -1) / 2
    columns = (
        place, np.zeros_like(place), (gaussians.raw_colour[rows].sigmoid().cpu().numpy() - 0.5) / C0,
        gaussians.raw_opacity[rows, None].cpu().numpy(), gaussians.log_scale[rows].cpu().numpy(), turned.numpy(),
    )  # fmt: skip
    head = ["ply", "format binary_little_endian 1.0", "comment scorelift", f"element vertex {len(rows)}"]
    head += [*(f"property float {name}" for name in PROPERTIES), "end_header"]
    return ("\n".join(head) + "\n").encode() + np.concatenate(columns, -1).astype("<f4").tobytes()
