"""Gaussians in space as a camera sees them: flat ones.

Ref: Zwicker et al., "EWA splatting" (2002), Sec. 6; Kerbl et al. (2023), Eq. 5. A splat is widened to at least a pixel,
and dimmed by as much, so that a small picture shows what a large one does: Yu et al., "Mip-Splatting" (2024), Eq. 9.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..core.cameras import Cameras

NEAR = 0.05
"Distance from the camera under which nothing is drawn."
WIDE = 0.3
"Variance, in squared pixels, that every splat is widened by (Kerbl et al. (2023), public code)."
ASIDE = 1.3
"Beyond so many half pictures from the middle, the slope of the projection stays what it is there (same code)."


def quaternion_matrix(q: Float[Tensor, "n 4"]) -> Float[Tensor, "n 3 3"]:
    """Rotation matrices of quaternions (w, x, y, z) of any length but 0."""
    w, x, y, z = F.normalize(q, dim=-1).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


def project(
    place: Float[Tensor, "n 3"], root: Float[Tensor, "n 3 3"], cameras: Cameras, size: int
) -> tuple[Float[Tensor, "b n 2"], Float[Tensor, "b n 3"], Float[Tensor, "b n"], Float[Tensor, "b n"]]:
    """Gaussians of covariance root root^T as cameras see them: mean and conic of `Splats`, dimming, depth.

    The projection is taken to be straight around each centre: Zwicker et al., "EWA splatting" (2002), Eq. 29.
    """
    to_camera = cameras.c2w[:, :3, :3]  # rows of points times this are in the camera's axes: right, up, back
    at = (place - cameras.position[:, None]) @ to_camera
    depth = -at[..., 2]
    far = depth.clamp_min(NEAR)
    tan = torch.tan(torch.deg2rad(cameras.fovy_deg) / 2)[:, None]
    focal = size / 2 / tan
    x, y = at[..., 0] / far, at[..., 1] / far
    mean = size / 2 + torch.stack([focal * x, -focal * y], -1)
    scale, zero = focal / far, torch.zeros_like(far)
    aside, above = (t.clamp(-ASIDE, ASIDE) * tan for t in (x / tan, y / tan))
    slope = torch.stack(
        [torch.stack([scale, zero, scale * aside], -1), torch.stack([zero, -scale, -scale * above], -1)], -2
    )
    spread = slope @ to_camera.mT[:, None] @ root  # (b, n, 2, 3)
    a, b = spread.unbind(-2)
    xx, xy, yy = (a * a).sum(-1), (a * b).sum(-1), (b * b).sum(-1)
    wide_xx, wide_yy = xx + WIDE, yy + WIDE
    area = (wide_xx * wide_yy - xy * xy).clamp_min(1e-12)
    conic = torch.stack([wide_yy, -xy, wide_xx], -1) / area[..., None]
    dim = ((xx * yy - xy * xy).clamp_min(1e-12) / area).sqrt()
    return mean, conic, dim, torch.where(depth > NEAR, depth, -torch.ones_like(depth))
