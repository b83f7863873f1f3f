"""Antialiasing of silhouettes, with gradients to the vertices that make them.

Where a silhouette passes between the centres of two neighbouring pixels, the one it cuts is blended with the other by
how far the cut goes; as the silhouette moves, so do colours. Silhouettes are walked edge by edge, not pixel by pixel,
so triangles may be smaller than pixels.

Ref: Laine et al., "Modular primitives for high-performance differentiable rendering" (2020), Sec. 3.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .raster import NEAR, Fragments
from .triangles import edges_of

REACH = 0.3
"A surface seen inside a silhouette is at most so much nearer or farther than it."


@dataclass(frozen=True)
class Crossings:
    """Places where silhouettes pass between the centres of two neighbouring pixels."""

    inside: Int[Tensor, " n"]
    "The pixel on the object's side, row-major over (b, h, w) ..."
    outside: Int[Tensor, " n"]
    "... and its neighbour."
    view: Int[Tensor, " n"]
    ends: Int[Tensor, "n 2"]
    "Vertices of the edge."
    down: Bool[Tensor, " n"]
    "Whether the pixels are above each other, not side by side."


def antialias(
    image: Float[Tensor, "b c h w"],
    screen: Float[Tensor, "b v 3"],
    faces: Int[Tensor, "f 3"],
    fragments: Fragments,
) -> Float[Tensor, "b c h w"]:
    """The pictures with soft silhouettes; differentiable in the pictures and in the projected vertices.

    Args:
        image: square, drawn with these fragments: colours before a background, opacity, normals.
        screen: projected vertices, from `raster.project`.
    """
    size = image.shape[-1]
    found = crossings(screen.detach(), faces, fragments, size)
    cut = _reach_of(found, screen, size)
    flat = image.permute(0, 2, 3, 1).reshape(-1, image.shape[1])
    # Before the middle between the two centres the silhouette cuts the inner pixel, behind it the outer one.
    mixed = torch.cat([found.inside, found.outside])
    other = torch.cat([found.outside, found.inside])
    share = torch.cat([(0.5 - cut).clamp_min(0), (cut - 0.5).clamp_min(0)])
    total = torch.ones_like(flat[:, 0]).index_add(0, mixed, share) - 1
    share = share / total.clamp_min(1)[mixed]  # a pixel that several silhouettes cut is still a mean of its neighbours
    soft = flat.index_add(0, mixed, share[:, None] * (flat[other] - flat[mixed]))
    return soft.view(len(image), size, size, -1).permute(0, 3, 1, 2)


@torch.no_grad()
def _outermost(found: Crossings, screen: Float[Tensor, "b v 3"], size: int) -> Crossings:
    """Of several silhouettes between the same two pixels, as folds of a rough surface make them, the outermost."""
    by_reach = _reach_of(found, screen, size).argsort(descending=True)
    pair = (found.inside * len(screen) * size * size + found.outside)[by_reach]
    pair, order = pair.sort(stable=True)
    first = torch.ones_like(pair, dtype=torch.bool)
    first[1:] = pair[1:] != pair[:-1]
    kept = by_reach[order[first]]
    return Crossings(*(column[kept] for column in vars(found).values()))


def _reach_of(found: Crossings, screen: Float[Tensor, "b v 3"], size: int) -> Float[Tensor, " n"]:
    """How far from the inner pixel's centre toward the outer's the silhouette passes, in [0, 1]."""
    a, b = (screen[found.view, found.ends[:, k], :2] for k in range(2))
    # Side by side, x is crossed at the centres' y; above each other, the roles of x and y change.
    a, b = (torch.where(found.down[:, None], point.flip(-1), point) for point in (a, b))
    row, column = found.inside // size % size, found.inside % size
    centre = torch.stack([column, row], -1) + 0.5
    centre = torch.where(found.down[:, None], centre.flip(-1), centre).to(screen)
    x = a[:, 0] + (centre[:, 1] - a[:, 1]) / (b[:, 1] - a[:, 1]) * (b[:, 0] - a[:, 0])
    toward = torch.where(found.outside > found.inside, 1.0, -1.0)
    return (x - centre[:, 0]) * toward


@torch.no_grad()
def _depths(screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], fragments: Fragments, size: int) -> Tensor:
    """Depth at each pixel (b h w), infinite where nothing is seen."""
    depth = torch.full((len(screen) * size * size,), torch.inf, device=screen.device, dtype=screen.dtype)
    at = screen[(fragments.pixel // (size * size))[:, None], faces[fragments.face], 2]
    depth[fragments.pixel] = (fragments.weights.detach() * at).sum(-1)
    return depth


def crossings(screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], fragments: Fragments, size: int) -> Crossings:
    """Where silhouettes pass between pixels; of several between the same two, the outermost."""
    if screen.device.type == "cpu" and screen.dtype == torch.float32:
        from .silhouettes_cpu import crossings as compiled

        depth = _depths(screen, faces, fragments, size)
        return Crossings(*compiled(screen, faces, edges_of(faces), depth, size, NEAR, REACH))
    return crossings_reference(screen, faces, fragments, size)


def crossings_reference(
    screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], fragments: Fragments, size: int
) -> Crossings:
    """The same on any device, in another order."""
    return _outermost(_crossings(screen, faces, fragments, size), screen, size)


@torch.no_grad()
def _crossings(screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], fragments: Fragments, size: int) -> Crossings:
    edges = edges_of(faces)
    one, other = edges.faces.unbind(1)
    front = _turn(*(screen.index_select(1, corner) for corner in faces.unbind(1))) > 0
    outline = (front.index_select(1, one) != front.index_select(1, other.clamp_min(0))) | (other < 0)
    view, edge = outline.nonzero(as_tuple=True)
    before = (screen[view[:, None], edges.ends[edge], 2] >= NEAR).all(-1)
    view, edge = view[before], edge[before]
    ends = edges.ends[edge]
    third = (faces[one[edge]].sum(-1) - ends.sum(-1)).long()
    a, b, c = (screen[view, vertex] for vertex in (ends[:, 0], ends[:, 1], third))
    depth = _depths(screen, faces, fragments, size)
    parts = [_along(a, b, c, view, ends, depth, size, down) for down in (False, True)]
    return Crossings(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _turn(a: Float[Tensor, "*n k"], b: Float[Tensor, "*n k"], c: Float[Tensor, "*n k"]) -> Float[Tensor, " *n"]:
    """Twice the signed area of triangles on the screen."""
    return (b[..., 0] - a[..., 0]) * (c[..., 1] - a[..., 1]) - (b[..., 1] - a[..., 1]) * (c[..., 0] - a[..., 0])


def _along(
    a: Float[Tensor, "n 3"], b: Float[Tensor, "n 3"], c: Float[Tensor, "n 3"],
    view: Int[Tensor, " n"], ends: Int[Tensor, "n 2"], depth: Float[Tensor, " pixels"], size: int, down: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Where edges a b of faces a b c pass between pixels side by side, or above each other; columns of `Crossings`.

    Steep edges count between pixels side by side, flat ones between pixels above each other, so each strip of area that
    a silhouette sweeps is counted once.
    """
    x, y = (1, 0) if down else (0, 1)
    low = (torch.minimum(a[:, y], b[:, y]) - 0.5).ceil().clamp(0, size).long()
    high = (torch.maximum(a[:, y], b[:, y]) - 0.5).ceil().clamp(0, size).long()
    rise, run = (b[:, y] - a[:, y]).abs(), (b[:, x] - a[:, x]).abs()
    steep = rise > run if down else rise >= run
    count = (high - low).clamp_min(0) * steep
    edge = torch.repeat_interleave(count)
    line = low[edge] + torch.arange(len(edge), device=edge.device) - (count.cumsum(0) - count)[edge]
    turn = _turn(a, b, c)[edge]
    a, b, view, ends = a[edge], b[edge], view[edge], ends[edge]
    share = (line + 0.5 - a[:, y]) / (b[:, y] - a[:, y])
    place = a[:, x] + share * (b[:, x] - a[:, x])
    near = 1 / ((1 - share) / a[:, 2] + share / b[:, 2])
    before = (place - 0.5).floor().long()
    kept = ((before >= 0) & (before < size - 1)).nonzero()[:, 0]  # once: a mask is counted anew for each tensor
    line, turn, a, b, view, ends, near, before = (t[kept] for t in (line, turn, a, b, view, ends, near, before))
    # The third corner lies on the side on which the signed area has the sign of the triangle's own.
    rising = (b[:, 0] - a[:, 0]) if down else (a[:, 1] - b[:, 1])
    inside_after = turn * rising > 0
    inner = torch.where(inside_after, before + 1, before)
    outer = torch.where(inside_after, before, before + 1)

    def pixel(column: Tensor) -> Tensor:
        row, column = (column, line) if down else (line, column)
        return (view * size + row) * size + column

    inner, outer = pixel(inner), pixel(outer)
    seen = (((depth[inner] - near).abs() < REACH) & (depth[outer] > near)).nonzero()[:, 0]
    return inner[seen], outer[seen], view[seen], ends[seen], torch.full_like(inner[seen], down, dtype=torch.bool)
