"""Voxels as the compiled passes read them: density, features and normal of each side by side.

A record is eight numbers, so that interpolating or adding to one is a single instruction. `fill` makes records of the
grids; `add_up` and `hand_out` bring the records of gradients that threads have gathered back to the grids.

Single precision. None here calls a function of another file; whoever changes a constant of this one touches its users
too (`compiling` says why).
"""

from __future__ import annotations

import math

import numpy as np

from .compiling import fast, inlined

RECORD = 8
FEATURES = 4
"A record: raw density, up to four features, a normal."
NORMAL_AT = RECORD - 3
NONE, ONE, HALF = (np.float32(value) for value in (0, 1, 0.5))
_FLAT = np.float32(1e-6)  # under the square root, where there is no slope


@inlined
def _slope(n, density, i, j, k):
    """Differences of the density across a voxel; one-sided at the edges."""
    row = (i * n + j) * n
    x = density[(min(i + 1, n - 1) * n + j) * n + k] - density[(max(i - 1, 0) * n + j) * n + k]
    y = density[(i * n + min(j + 1, n - 1)) * n + k] - density[(i * n + max(j - 1, 0)) * n + k]
    return x, y, density[row + min(k + 1, n - 1)] - density[row + max(k - 1, 0)]


@fast
def fill(n, density, features, records, part, parts):
    """Fill the records, one layer in `parts`."""
    for i in range(part, n, parts):
        for j in range(n):
            for k in range(n):
                v = (i * n + j) * n + k
                records[v, 0] = density[v]
                for m in range(features.shape[1]):
                    records[v, 1 + m] = features[v, m]
                x, y, z = _slope(n, density, i, j, k)
                scale = -ONE / math.sqrt(x * x + y * y + z * z + _FLAT)
                records[v, NORMAL_AT] = x * scale
                records[v, NORMAL_AT + 1] = y * scale
                records[v, NORMAL_AT + 2] = z * scale


@fast
def add_up(n, density, to_records, part, parts):
    """Sum the threads' records into the first, and turn gradients on normals into ones on differences."""
    first = to_records[0]
    for i in range(part, n, parts):
        for v in range(i * n * n, (i + 1) * n * n):
            for thread in range(1, len(to_records)):
                for m in range(RECORD):
                    first[v, m] += to_records[thread, v, m]
            a, b, c = first[v, NORMAL_AT], first[v, NORMAL_AT + 1], first[v, NORMAL_AT + 2]
            if a == 0 and b == 0 and c == 0:
                continue
            x, y, z = _slope(n, density, i, v // n % n, v % n)
            inverse = ONE / math.sqrt(x * x + y * y + z * z + _FLAT)
            along = (a * x + b * y + c * z) * inverse * inverse
            first[v, NORMAL_AT] = (along * x - a) * inverse
            first[v, NORMAL_AT + 1] = (along * y - b) * inverse
            first[v, NORMAL_AT + 2] = (along * z - c) * inverse


@fast
def hand_out(n, summed, to_density, to_features, part, parts):
    """Gradients of the grids, one layer in `parts`: each voxel's own, and from the differences it is in."""
    for i in range(part, n, parts):
        for j in range(n):
            for k in range(n):
                v = (i * n + j) * n + k
                for m in range(to_features.shape[1]):
                    to_features[v, m] = summed[v, 1 + m]
                total = summed[v, 0]
                for axis in range(3):
                    at, stride = (i, n * n) if axis == 0 else ((j, n) if axis == 1 else (k, 1))
                    column = NORMAL_AT + axis
                    total += summed[v - stride if at > 0 else v, column] * (1 if at > 0 else -1)
                    total -= summed[v + stride if at < n - 1 else v, column] * (1 if at < n - 1 else -1)
                to_density[v] = total
