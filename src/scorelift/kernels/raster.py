"""Which triangle each pixel sees, and where in it: rasterization that gradients pass through.

What is visible is decided without gradients; the weights of a triangle's corners at a pixel are then computed from the
corners again, so everything interpolated with them has gradients to the vertices. What moves at silhouettes, where
another triangle comes into view, is `silhouettes.antialias`'s affair.

Ref: Laine et al., "Modular primitives for high-performance differentiable rendering" (2020), Sec. 3.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.cameras import Cameras

NEAR = 1e-3
"Triangles with a corner nearer to the camera's plane are not drawn."
EDGE = 1e-6
"How far outside, as a share of the triangle, a pixel's centre still counts as inside: shared edges leave no gaps."
NOTHING = 2**63 - 1


@dataclass(frozen=True)
class Fragments:
    """The covered pixels of a batch of pictures."""

    pixel: Int[Tensor, " n"]
    "Row-major over (b, h, w)."
    face: Int[Tensor, " n"]
    weights: Float[Tensor, "n 3"]
    "Of the face's corners, perspective-correct; they sum to 1."

    def interpolate(self, attributes: Float[Tensor, "v c"], faces: Int[Tensor, "f 3"]) -> Float[Tensor, "n c"]:
        """Attributes of vertices at the fragments."""
        return (self.weights[..., None] * attributes[faces[self.face]]).sum(1)


def project(points: Float[Tensor, "v 3"], cameras: Cameras, size: int) -> Float[Tensor, "b v 3"]:
    """Where points appear: x to the right and y down in pixels, and depth before the camera's plane.

    The pixel in row i and column j has its centre at (j + .5, i + .5).
    """
    c2w, fovy_deg = cameras.c2w.to(points.dtype), cameras.fovy_deg.to(points.dtype)
    local = (points - c2w[:, None, :3, 3]) @ c2w[:, :3, :3]
    depth = -local[..., 2]
    scale = size / 2 / torch.tan(torch.deg2rad(fovy_deg) / 2)[:, None] / depth.clamp_min(NEAR)
    return torch.stack([size / 2 + scale * local[..., 0], size / 2 - scale * local[..., 1], depth], -1)


def visible_reference(screen: Float[Tensor, "v 3"], faces: Int[Tensor, "f 3"], size: int) -> Int[Tensor, "h w"]:
    """The nearest triangle at each pixel's centre, -1 for none; all triangles at once, on any device."""
    corners = screen[faces]
    index = torch.nonzero((corners[..., 2] >= NEAR).all(1))[:, 0]
    corners = corners[index]
    low = (corners[..., :2].amin(1) - 0.5).ceil().clamp(0, size).long()
    high = ((corners[..., :2].amax(1) - 0.5).floor() + 1).clamp(0, size).long()
    span = (high - low).clamp_min(0)
    count = span[:, 0] * span[:, 1]
    which = torch.repeat_interleave(count)
    within = torch.arange(len(which), device=which.device) - (count.cumsum(0) - count)[which]
    width = span[which, 0]
    column, row = low[which, 0] + within % width, low[which, 1] + within // width
    a, b, c = (corners[which, k, :2] - torch.stack([column, row], -1) - 0.5 for k in range(3))
    weights = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1)
    area = weights.sum(-1, keepdim=True)
    weights = weights / torch.where(area == 0, 1, area)
    depth = 1 / (weights / corners[which, :, 2]).sum(-1)
    inside = (weights >= -EDGE).all(-1) & (area[:, 0].abs() > 1e-12)
    # The bits of positive floats are in the order of the floats: the least key is the nearest triangle's.
    key = (depth.float().view(torch.int32).long() << 32 | index[which])[inside]
    nearest = torch.full((size * size,), NOTHING, dtype=torch.int64, device=screen.device)
    nearest.scatter_reduce_(0, (row * size + column)[inside], key, "amin")
    return torch.where(nearest == NOTHING, -1, nearest & 0xFFFFFFFF).view(size, size)


def _cross(a: Float[Tensor, "*n 2"], b: Float[Tensor, "*n 2"]) -> Float[Tensor, " *n"]:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


@torch.no_grad()
def visible(screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], size: int) -> Int[Tensor, "b h w"]:
    """The nearest triangle at each pixel's centre, -1 for none."""
    if screen.device.type == "cpu" and screen.dtype == torch.float32:
        from .raster_cpu import visible_compiled

        return visible_compiled(screen, faces, size)
    if screen.device.type == "cuda":
        from .raster_nvdiffrast import library, visible_nvdiffrast

        if library() is not None:
            return visible_nvdiffrast(screen, faces, size)
    return torch.stack([visible_reference(view, faces, size) for view in screen])


def rasterize(screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], size: int) -> Fragments:
    """The covered pixels of pictures of a mesh, given its projected vertices; differentiable in these."""
    seen = visible(screen, faces, size)
    view, row, column = torch.nonzero(seen >= 0, as_tuple=True)
    face = seen[view, row, column].long()
    corners = screen[view[:, None], faces[face]]
    place = torch.stack([column, row], -1) + 0.5
    a, b, c = (corners[:, k, :2] - place for k in range(3))
    weights = torch.stack([_cross(b, c), _cross(c, a), _cross(a, b)], -1) / corners[..., 2]
    return Fragments((view * size + row) * size + column, face, weights / weights.sum(-1, keepdim=True))
