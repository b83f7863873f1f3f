"""Gaussians laid down on a grid of voxels, compiled."""

from __future__ import annotations

import math

import numpy as np

from .compiling import exact

REACH = 3.0
"Standard deviations beyond which a Gaussian is nowhere."


@exact
def deposit(place, inverse, half, peak, colour, sums):
    """Add each Gaussian's density, and colour times density, to the voxels of the box of half extents around it.

    Args:
        place: (n, 3), in [-1, 1].
        inverse: (n, 3, 3), of the root of the covariance.
        half: (n, 3), REACH standard deviations along each axis.
        peak: (n,), the density at the centre.
        colour: (n, 3).
        sums: (x, y, z, 4), density and colour times density; added to.
    """
    n = sums.shape[0]
    gap = np.float32(2 / (n - 1))
    for g in range(len(place)):
        m, at, rgb = inverse[g], place[g], colour[g]
        low, high = np.zeros(3, np.int64), np.zeros(3, np.int64)
        for axis in range(3):
            low[axis] = max(0, math.ceil((at[axis] - half[g, axis] + 1) / gap))
            high[axis] = min(n - 1, math.floor((at[axis] + half[g, axis] + 1) / gap))
        for i in range(low[0], high[0] + 1):
            x = i * gap - 1 - at[0]
            for j in range(low[1], high[1] + 1):
                y = j * gap - 1 - at[1]
                for k in range(low[2], high[2] + 1):
                    z = k * gap - 1 - at[2]
                    u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z
                    v = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z
                    w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z
                    q = u * u + v * v + w * w
                    if q <= REACH * REACH:
                        density = peak[g] * math.exp(-q / 2)
                        sums[i, j, k, 0] += density
                        sums[i, j, k, 1] += density * rgb[0]
                        sums[i, j, k, 2] += density * rgb[1]
                        sums[i, j, k, 3] += density * rgb[2]
