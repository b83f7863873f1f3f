"""Flat Gaussians on pictures, blended from front to back: what three-dimensional ones become before a camera.

`splat_tiled` is the reference and runs on any device, tile by tile; on a CPU, in single precision, `splat` takes the
compiled passes of `splats_cpu` instead, which tests hold to its values and gradients.

Ref: Kerbl et al., "3D Gaussian splatting for real-time radiance field rendering" (2023), Eq. 3 and Sec. 6, whose bounds
on alpha these are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .composite import SPENT

FAINT = 1 / 255
"Alpha under which a Gaussian adds nothing to a pixel."
SOLID = 0.99
"Alpha that none exceeds, so that what is behind can be found again on the way back."
TILE = 32


@dataclass(frozen=True)
class Splats:
    """Gaussians as each of several cameras sees them."""

    mean: Float[Tensor, "b n 2"]
    "Column and row, in pixels; the centre of the first pixel is at (0.5, 0.5)."
    conic: Float[Tensor, "b n 3"]
    "Of q(x, y) = a x^2 + 2 b x y + c y^2, the squared distance in standard deviations: a, b, c."
    alpha: Float[Tensor, "b n"]
    "At the mean."
    features: Float[Tensor, "b n c"]
    depth: Float[Tensor, "b n"]
    "By which they are ordered; at or under 0 they are behind the camera and not seen."

    def order(self) -> Int[Tensor, "b n"]:
        """Indices of each camera's Gaussians from front to back, those that are never seen at the end."""
        hidden = (self.depth <= 0) | (self.alpha < FAINT)
        return self.depth.detach().masked_fill(hidden, torch.inf).argsort(dim=-1, stable=True)

    def seen(self) -> Int[Tensor, " b"]:
        """How many of each order are seen."""
        return ((self.depth > 0) & (self.alpha >= FAINT)).sum(-1)

    def half_extent(self) -> Float[Tensor, "b n 2"]:
        """Half width and height of the boxes outside of which alpha is under FAINT, in pixels."""
        a, b, c = self.conic.detach().unbind(-1)
        reach = 2 * torch.log(self.alpha.detach().clamp_min(FAINT) / FAINT)  # the q at which alpha is FAINT
        return (reach[..., None] * torch.stack([c, a], -1) / (a * c - b * b)[..., None]).sqrt()


def splat(splats: Splats, size: int) -> Float[Tensor, "b c1 h w"]:
    """Blend Gaussians into square pictures: sums of weight times features, and last of the weights, the opacity.

    alpha_i(p) = min(alpha_i exp(-q_i(p - mean_i) / 2), SOLID), 0 if under FAINT; w_i = alpha_i prod_{j<i} (1 - alpha_j)
    over those before it, 0 from where the product is under SPENT.
    """
    if splats.mean.device.type == "cpu" and splats.mean.dtype == torch.float32:
        from . import splats_cpu  # numba takes its time, and a GPU needs none

        return splats_cpu.splat(splats, size)
    return splat_tiled(splats, size)


def splat_tiled(splats: Splats, size: int, tile: int = TILE) -> Float[Tensor, "b c1 h w"]:
    """The reference: in each tile all Gaussians whose boxes touch it; computed again on the way back."""
    order, seen, half = splats.order(), splats.seen().tolist(), splats.half_extent()
    pictures = []
    for view, count in enumerate(seen):
        front = order[view, :count]
        mean, features = splats.mean[view, front], splats.features[view, front]
        some = mean, splats.conic[view, front], splats.alpha[view, front], torch.cat([features, _ones(features)], -1)
        low, high = (mean - half[view, front]).detach(), (mean + half[view, front]).detach()
        rows = []
        for top in range(0, size, tile):
            cells = []
            for left in range(0, size, tile):
                corner = mean.new_tensor([left, top])
                touched = ((high > corner) & (low < corner + tile)).all(-1).nonzero()[:, 0]
                pixels = _pixels(corner, min(tile, size - top), min(tile, size - left))
                given = (pixels, *(t[touched] for t in some))
                cells.append(checkpoint(_blend, *given, use_reentrant=False, preserve_rng_state=False))
            rows.append(torch.cat(cells, -1))
        pictures.append(torch.cat(rows, -2))
    return torch.stack(pictures)


def _ones(features: Float[Tensor, "k c"]) -> Float[Tensor, "k 1"]:
    return torch.ones_like(features[:, :1])


def _pixels(corner: Float[Tensor, "2"], height: int, width: int) -> Float[Tensor, "h w 2"]:
    """Centres of a tile's pixels."""
    y, x = (torch.arange(n, dtype=corner.dtype, device=corner.device) + 0.5 for n in (height, width))
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1) + corner


def _blend(
    pixels: Float[Tensor, "h w 2"], mean: Float[Tensor, "k 2"], conic: Float[Tensor, "k 3"], alpha: Float[Tensor, " k"],
    features: Float[Tensor, "k c1"],
) -> Float[Tensor, "c1 h w"]:  # fmt: skip
    """Gaussians from front to back, at pixels."""
    x, y = (pixels[..., None, :] - mean).unbind(-1)
    a, b, c = conic.unbind(-1)
    at = (alpha * torch.exp(-0.5 * (a * x * x + 2 * b * x * y + c * y * y))).clamp_max(SOLID)
    at = torch.where(at >= FAINT, at, torch.zeros_like(at))
    through = torch.cumprod(1 - at, -1)
    before = torch.cat([torch.ones_like(through[..., :1]), through[..., :-1]], -1)
    return ((at * before * (before >= SPENT)) @ features).permute(2, 0, 1)
