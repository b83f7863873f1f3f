"""The hash encoding on a CPU, compiled, in single precision.

Levels are shared out among as many threads as torch uses. Each has its own rows of the table, so gradients are added
without copies or locks, in an order that does not depend on the number of threads. The gradient on points is a sum over
levels: for it points are shared out.

`features` is a tuple of as many numbers as a level has features: numba knows the length of a tuple when it compiles, so
loops over features are unrolled.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .compiling import fast, inlined
from .hash_encoding import PRIMES, HashLevels
from .threads import share

NONE, ONE, HALF = (np.float32(value) for value in (0, 1, 0.5))
_, PRIME_Y, PRIME_Z = PRIMES


class Grids(NamedTuple):
    """Levels as the compiled passes read them."""

    resolution: Int[np.ndarray, " levels"]
    dense: Bool[np.ndarray, " levels"]
    rows: Int[np.ndarray, " levels"]
    offset: Int[np.ndarray, " levels"]


@cache
def _grids(levels: HashLevels) -> Grids:
    counts = (np.array(values, np.int64) for values in (levels.resolutions, levels.rows, levels.offsets))
    resolution, rows, offset = counts
    return Grids(resolution, np.array(levels.dense), rows, offset)


def forward(table: Float[Tensor, "rows f"], points: Float[Tensor, "n 3"], levels: HashLevels) -> Tensor:
    """Features of points (n, features)."""
    out = np.empty((len(points), levels.width), np.float32)
    given: tuple[Any, ...] = (_grids(levels), table.numpy(), points.numpy(), out, (0,) * levels.features)
    share(lambda *part: _forward(*given, *part))
    return torch.from_numpy(out)


def backward(
    table: Float[Tensor, "rows f"], points: Float[Tensor, "n 3"], grad: Float[Tensor, "n features"],
    levels: HashLevels, wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """Gradients on table and points, where they are wanted."""
    found: list[Tensor | None] = [None, None]
    given: tuple[Any, ...]
    features = (0,) * levels.features
    if wanted[0]:
        to_table = np.zeros(table.shape, np.float32)
        given = (_grids(levels), points.numpy(), grad.numpy(), to_table, features)
        share(lambda *part: _to_table(*given, *part))
        found[0] = torch.from_numpy(to_table)
    if wanted[1]:
        to_points = np.zeros(points.shape, np.float32)
        given = (_grids(levels), table.numpy(), points.numpy(), grad.numpy(), to_points, features)
        share(lambda *part: _to_points(*given, *part))
        found[1] = torch.from_numpy(to_points)
    return found[0], found[1]


@inlined
def _place(coordinate, resolution):
    """The cell of a coordinate, and how far above its lower side it lies, in cells."""
    place = min(max((coordinate + ONE) * (HALF * np.float32(resolution)), NONE), np.float32(resolution))
    cell = max(0, min(int(place), resolution - 1))  # what is not a number stays within the table
    return cell, place - np.float32(cell)


@fast
def _rows(i, j, k, resolution, dense, rows, offset):
    """Rows of a cell's eight vertices."""
    if dense:
        side = resolution + 1
        a = offset + (i * side + j) * side + k
        b, c = a + side, a + side * side
        d = c + side
        return a, a + 1, b, b + 1, c, c + 1, d, d + 1
    mask = rows - 1
    y, z = j * PRIME_Y, k * PRIME_Z
    yy, zz = y + PRIME_Y, z + PRIME_Z
    return (
        offset + ((i ^ y ^ z) & mask),
        offset + ((i ^ y ^ zz) & mask),
        offset + ((i ^ yy ^ z) & mask),
        offset + ((i ^ yy ^ zz) & mask),
        offset + (((i + 1) ^ y ^ z) & mask),
        offset + (((i + 1) ^ y ^ zz) & mask),
        offset + (((i + 1) ^ yy ^ z) & mask),
        offset + (((i + 1) ^ yy ^ zz) & mask),
    )


@fast
def _weights(f, g, h):
    """Shares of a cell's eight vertices."""
    a, b, c, d = (ONE - f) * (ONE - g), (ONE - f) * g, f * (ONE - g), f * g
    low = ONE - h
    return a * low, a * h, b * low, b * h, c * low, c * h, d * low, d * h


@fast
def _forward(grids, table, points, out, features, part, parts):
    for level in range(part, len(grids.resolution), parts):
        resolution, dense = grids.resolution[level], grids.dense[level]
        rows, offset = grids.rows[level], grids.offset[level]
        first = level * len(features)
        for n in range(len(points)):
            i, f = _place(points[n, 0], resolution)
            j, g = _place(points[n, 1], resolution)
            k, h = _place(points[n, 2], resolution)
            a, b, c, d, e, o, p, q = _rows(i, j, k, resolution, dense, rows, offset)
            r, s, t, u, v, w, x, y = _weights(f, g, h)
            for m in range(len(features)):
                out[n, first + m] = (
                    r * table[a, m] + s * table[b, m] + t * table[c, m] + u * table[d, m]
                    + v * table[e, m] + w * table[o, m] + x * table[p, m] + y * table[q, m]
                )  # fmt: skip


@fast
def _to_table(grids, points, grad, to_table, features, part, parts):
    for level in range(part, len(grids.resolution), parts):
        resolution, dense = grids.resolution[level], grids.dense[level]
        rows, offset = grids.rows[level], grids.offset[level]
        first = level * len(features)
        for n in range(len(points)):
            i, f = _place(points[n, 0], resolution)
            j, g = _place(points[n, 1], resolution)
            k, h = _place(points[n, 2], resolution)
            at = _rows(i, j, k, resolution, dense, rows, offset)
            weight = _weights(f, g, h)
            for corner in range(8):
                for m in range(len(features)):
                    to_table[at[corner], m] += weight[corner] * grad[n, first + m]


@fast
def _to_points(grids, table, points, grad, to_points, features, part, parts):
    pull = np.empty(8, np.float32)
    for n in range(part * len(points) // parts, (part + 1) * len(points) // parts):
        for level in range(len(grids.resolution)):
            resolution, dense = grids.resolution[level], grids.dense[level]
            rows, offset = grids.rows[level], grids.offset[level]
            first = level * len(features)
            i, f = _place(points[n, 0], resolution)
            j, g = _place(points[n, 1], resolution)
            k, h = _place(points[n, 2], resolution)
            at = _rows(i, j, k, resolution, dense, rows, offset)
            for corner in range(8):
                pull[corner] = NONE
                for m in range(len(features)):
                    pull[corner] += table[at[corner], m] * grad[n, first + m]
            # Differences of opposite vertices along one axis, interpolated along the two others.
            a, b, c, d = pull[0], pull[1], pull[2], pull[3]
            e, o, p, q = pull[4], pull[5], pull[6], pull[7]
            f_, g_, h_ = ONE - f, ONE - g, ONE - h
            x = g_ * (h_ * (e - a) + h * (o - b)) + g * (h_ * (p - c) + h * (q - d))
            y = f_ * (h_ * (c - a) + h * (d - b)) + f * (h_ * (p - e) + h * (q - o))
            z = f_ * (g_ * (b - a) + g * (d - c)) + f * (g_ * (o - e) + g * (q - p))
            scale = HALF * np.float32(resolution)
            to_points[n, 0] += scale * x
            to_points[n, 1] += scale * y
            to_points[n, 2] += scale * z
        for axis in range(3):
            if abs(points[n, axis]) > ONE:
                to_points[n, axis] = NONE
