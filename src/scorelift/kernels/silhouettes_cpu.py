"""`silhouettes.crossings`, compiled: edge by edge, the outermost crossing kept for each pixel and neighbour."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .compiling import exact
from .triangles import Edges

HALF = np.float32(0.5)


def crossings(
    screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], edges: Edges, depth: Float[Tensor, " pixels"],
    size: int, near: float, reach: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Columns of `silhouettes.Crossings`; float32."""
    given: tuple[Any, ...] = tuple(t.contiguous().numpy() for t in (screen, faces, edges.ends, edges.faces, depth))
    found = _walk(*given, size, np.float32(near), np.float32(reach))
    inside, outside, edge, down = (torch.from_numpy(column) for column in found)
    return inside, outside, inside // (size * size), edges.ends[edge], down


@exact
def _turn(a, b, c):
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


@exact
def _walk(screen, faces, ends, beside, depth, size, near, reach):
    """Pixels inside and outside, edges, whether above each other."""
    room, count = 1024, 0
    inside, outside, edge = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    down, length = np.empty(room, np.bool_), np.empty(room, np.float32)
    first = np.full((len(depth), 4), -1, np.int32)  # the crossing of a pixel and its neighbour on each side
    front = np.empty(len(faces), np.bool_)
    for view in range(len(screen)):
        points = screen[view]
        for f in range(len(faces)):
            front[f] = _turn(points[faces[f, 0]], points[faces[f, 1]], points[faces[f, 2]]) > 0
        for e in range(len(ends)):
            one, other = beside[e]
            if other >= 0 and front[one] == front[other]:
                continue
            a, b = points[ends[e, 0]], points[ends[e, 1]]
            if a[2] < near or b[2] < near:
                continue
            third = faces[one, 0] + faces[one, 1] + faces[one, 2] - ends[e, 0] - ends[e, 1]
            turn = _turn(a, b, points[third])
            rise, run = abs(b[1] - a[1]), abs(b[0] - a[0])
            above = rise < run  # a flat edge passes between pixels above each other
            x, y = (1, 0) if above else (0, 1)
            rising = b[0] - a[0] if above else a[1] - b[1]
            after = turn * rising > 0
            low = min(max(int(np.ceil(min(a[y], b[y]) - HALF)), 0), size)
            high = min(max(int(np.ceil(max(a[y], b[y]) - HALF)), 0), size)
            for line in range(low, high):
                share = (np.float32(line) + HALF - a[y]) / (b[y] - a[y])
                place = a[x] + share * (b[x] - a[x])
                before = int(np.floor(place - HALF))
                if before < 0 or before >= size - 1:
                    continue
                inner, outer = (before + 1, before) if after else (before, before + 1)
                cut = (place - np.float32(inner) - HALF) * np.float32(outer - inner)
                side = (2 if above else 0) + (1 if after else 0)
                row = size * view
                inner = (row + inner) * size + line if above else (row + line) * size + inner
                outer = (row + outer) * size + line if above else (row + line) * size + outer
                distance = 1 / ((1 - share) / a[2] + share / b[2])
                if not (abs(depth[inner] - distance) < reach and depth[outer] > distance):
                    continue
                at = first[inner, side]
                if at < 0:
                    if count == room:
                        room *= 2
                        inside, outside, edge = _longer(inside), _longer(outside), _longer(edge)
                        down, length = _longer(down), _longer(length)
                    at = first[inner, side] = count
                    count += 1
                elif length[at] >= cut:
                    continue
                inside[at], outside[at], edge[at], down[at], length[at] = inner, outer, e, above, cut
    return inside[:count].copy(), outside[:count].copy(), edge[:count].copy(), down[:count].copy()


@exact
def _longer(column):
    """A column with room for twice as much."""
    wider = np.empty(2 * len(column), column.dtype)
    wider[: len(column)] = column
    return wider
