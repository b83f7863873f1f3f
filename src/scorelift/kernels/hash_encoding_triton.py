"""The hash encoding on a GPU, compiled by Triton at first use: no compiler is needed to install it.

One program reads a block of points at one level. Gradients are added atomically, so their last bits differ from run to
run.
"""

from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from .hash_encoding import PRIMES, HashLevels

BLOCK = 128
"Points a program."
PRIME_Y, PRIME_Z = tl.constexpr(PRIMES[1]), tl.constexpr(PRIMES[2])


@cache
def _grids(levels: HashLevels, device: torch.device) -> Int[Tensor, "levels 4"]:
    """Resolution, first row, number of rows, and whether they are hashed, of each level."""
    hashed = [not dense for dense in levels.dense]
    columns = (levels.resolutions, levels.offsets, levels.rows, hashed)
    return torch.tensor(columns, dtype=torch.int64).T.contiguous().to(device)


@triton.jit
def _place(points, n, inside, axis, resolution):
    """The cell of a coordinate, how far above its lower side it lies, and whether it was within bounds."""
    coordinate = tl.load(points + 3 * n + axis, mask=inside, other=0.0)
    whole = resolution.to(tl.float32)
    place = tl.minimum(tl.maximum((coordinate + 1) * (whole * 0.5), 0.0), whole)
    cell = tl.minimum(tl.maximum(place.to(tl.int32), 0), resolution.to(tl.int32) - 1)
    return cell, place - cell.to(tl.float32), (tl.abs(coordinate) <= 1).to(tl.float32)


@triton.jit
def _row(x, y, z, resolution, offset, rows, hashed):
    """Rows of vertices."""
    side = resolution + 1
    dense = (x.to(tl.int64) * side + y) * side + z
    name = x.to(tl.uint32) ^ (y.to(tl.uint32) * PRIME_Y) ^ (z.to(tl.uint32) * PRIME_Z)
    return offset + tl.where(hashed != 0, name.to(tl.int64) & (rows - 1), dense)


@triton.jit
def _forward(  # type: ignore[no-untyped-def]
    grids, table, points, out, count, width,
    features: tl.constexpr, padded: tl.constexpr, size: tl.constexpr,
):  # fmt: skip
    n, level = tl.program_id(0).to(tl.int64) * size + tl.arange(0, size), tl.program_id(1)
    m = tl.arange(0, padded)
    inside = n < count
    both = inside[:, None] & (m < features)[None, :]
    resolution, offset = tl.load(grids + 4 * level), tl.load(grids + 4 * level + 1)
    rows, hashed = tl.load(grids + 4 * level + 2), tl.load(grids + 4 * level + 3)
    i, f, _ = _place(points, n, inside, 0, resolution)
    j, g, _ = _place(points, n, inside, 1, resolution)
    k, h, _ = _place(points, n, inside, 2, resolution)
    total = tl.zeros((size, padded), tl.float32)
    for corner in tl.static_range(8):
        a, b, c = corner // 4, (corner // 2) % 2, corner % 2
        row = _row(i + a, j + b, k + c, resolution, offset, rows, hashed)
        weight = (f if a else 1 - f) * (g if b else 1 - g) * (h if c else 1 - h)
        total += weight[:, None] * tl.load(table + row[:, None] * features + m[None, :], mask=both, other=0.0)
    tl.store(out + n[:, None] * width + level * features + m[None, :], total, mask=both)


@triton.jit
def _backward(  # type: ignore[no-untyped-def]
    grids, table, points, grad, to_table, to_points, count, width,
    on_table: tl.constexpr, on_points: tl.constexpr, features: tl.constexpr, padded: tl.constexpr, size: tl.constexpr,
):  # fmt: skip
    n, level = tl.program_id(0).to(tl.int64) * size + tl.arange(0, size), tl.program_id(1)
    m = tl.arange(0, padded)
    inside = n < count
    both = inside[:, None] & (m < features)[None, :]
    resolution, offset = tl.load(grids + 4 * level), tl.load(grids + 4 * level + 1)
    rows, hashed = tl.load(grids + 4 * level + 2), tl.load(grids + 4 * level + 3)
    i, f, x_free = _place(points, n, inside, 0, resolution)
    j, g, y_free = _place(points, n, inside, 1, resolution)
    k, h, z_free = _place(points, n, inside, 2, resolution)
    upstream = tl.load(grad + n[:, None] * width + level * features + m[None, :], mask=both, other=0.0)
    x, y, z = tl.zeros((size,), tl.float32), tl.zeros((size,), tl.float32), tl.zeros((size,), tl.float32)
    for corner in tl.static_range(8):
        a, b, c = corner // 4, (corner // 2) % 2, corner % 2
        place = _row(i + a, j + b, k + c, resolution, offset, rows, hashed)[:, None] * features + m[None, :]
        u, v, w = f if a else 1 - f, g if b else 1 - g, h if c else 1 - h
        if on_table:
            tl.atomic_add(to_table + place, (u * v * w)[:, None] * upstream, mask=both, sem="relaxed")
        if on_points:
            pull = tl.sum(tl.load(table + place, mask=both, other=0.0) * upstream, 1)
            x += (2 * a - 1) * v * w * pull
            y += (2 * b - 1) * u * w * pull
            z += (2 * c - 1) * u * v * pull
    if on_points:
        scale = resolution.to(tl.float32) * 0.5
        tl.atomic_add(to_points + 3 * n, scale * x_free * x, mask=inside, sem="relaxed")
        tl.atomic_add(to_points + 3 * n + 1, scale * y_free * y, mask=inside, sem="relaxed")
        tl.atomic_add(to_points + 3 * n + 2, scale * z_free * z, mask=inside, sem="relaxed")


def _shape(points: Tensor, levels: HashLevels) -> tuple[tuple[int, int], dict[str, int]]:
    """Programs, and the constants they are compiled with."""
    padded = triton.next_power_of_2(levels.features)
    programs = (triton.cdiv(len(points), BLOCK), levels.levels)
    return programs, {"features": levels.features, "padded": padded, "size": BLOCK}


def forward(table: Float[Tensor, "rows f"], points: Float[Tensor, "n 3"], levels: HashLevels) -> Tensor:
    """Features of points (n, features)."""
    out = points.new_empty(len(points), levels.width)
    programs, constants = _shape(points, levels)
    if len(points):
        _forward[programs](_grids(levels, points.device), table, points, out, *out.shape, **constants)
    return out


def backward(
    table: Float[Tensor, "rows f"], points: Float[Tensor, "n 3"], grad: Float[Tensor, "n features"],
    levels: HashLevels, wanted: tuple[bool, bool],
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """Gradients on table and points, where they are wanted."""
    to_table = torch.zeros_like(table) if wanted[0] else None
    to_points = torch.zeros_like(points) if wanted[1] else None
    programs, constants = _shape(points, levels)
    if len(points):
        given = (_grids(levels, points.device), table, points, grad, to_table, to_points, *grad.shape)
        _backward[programs](*given, on_table=wanted[0], on_points=wanted[1], **constants)
    return to_table, to_points
