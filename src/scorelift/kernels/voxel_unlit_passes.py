"""The passes of unlit rays through voxel grids, forward and backward.

Compiled by numba at first use, in single precision, and kept on disk.

Ref: DreamFusion Eq. 5; SJC Eq. 25. With u_i = dL/dw_i and tau_i = density_i delta:
dL/dtau_k = T_{k+1} u_k - sum_{i > k} w_i u_i.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

FAST = {"contract", "reassoc", "arcp", "afn", "nsz"}
"All of fastmath but the promises that nothing is infinite or NaN."
BLOCK = 64
"Neighbouring rays that one thread takes together; blocks go round the threads, so that each has part of the object."
NONE, ONE, HALF = (np.float32(value) for value in (0, 1, 0.5))
_STEEP, _THIN, _SMALL = np.float32(15), np.float32(-9), np.float32(4e-4)


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _voxels(n, occupied, origin, direction, t, weight):
    """The lowest of the eight voxels around a place on a ray, -1 where space is empty; sets their shares."""
    half, last = HALF * np.float32(n - 1), np.float32(n - 1)
    x = (origin[0] + t * direction[0] + ONE) * half
    y = (origin[1] + t * direction[1] + ONE) * half
    z = (origin[2] + t * direction[2] + ONE) * half
    x, y, z = min(max(x, NONE), last), min(max(y, NONE), last), min(max(z, NONE), last)
    i, j, k = int(x + HALF), int(y + HALF), int(z + HALF)
    if not occupied[(max(0, min(i, n - 1)) * n + max(0, min(j, n - 1))) * n + max(0, min(k, n - 1))]:
        return -1  # (what is not a number stays within the grid)
    i, j, k = max(0, min(int(x), n - 2)), max(0, min(int(y), n - 2)), max(0, min(int(z), n - 2))
    f, g, h = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    a, b, c, d = (ONE - f) * (ONE - g), (ONE - f) * g, f * (ONE - g), f * g
    low = ONE - h
    weight[0], weight[1], weight[2], weight[3] = a * low, a * h, b * low, b * h
    weight[4], weight[5], weight[6], weight[7] = c * low, c * h, d * low, d * h
    return (i * n + j) * n + k


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _blend(n, grid, base, w):
    """A grid's value among eight voxels."""
    a, b = base + n, base + n * n
    c = b + n
    return (
        w[0] * grid[base] + w[1] * grid[base + 1] + w[2] * grid[a] + w[3] * grid[a + 1]
        + w[4] * grid[b] + w[5] * grid[b + 1] + w[6] * grid[c] + w[7] * grid[c + 1]
    )  # fmt: skip


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _blend_column(n, grid, base, w, m):
    """The same of a column of a grid of features."""
    a, b = base + n, base + n * n
    c = b + n
    return (
        w[0] * grid[base, m] + w[1] * grid[base + 1, m] + w[2] * grid[a, m] + w[3] * grid[a + 1, m]
        + w[4] * grid[b, m] + w[5] * grid[b + 1, m] + w[6] * grid[c, m] + w[7] * grid[c + 1, m]
    )  # fmt: skip


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _stopped(raw, thickness):
    """Share of light that a sample stops, and the slope of its optical thickness over the raw density."""
    grown = math.exp(min(raw, _STEEP))
    if raw < _THIN:  # to single precision, softplus is exp here
        tau = slope = thickness * grown
    else:
        tau = thickness * (raw if raw > _STEEP else math.log(ONE + grown))
        slope = thickness * grown / (ONE + grown)
    if tau < _SMALL:  # to single precision; and exactly a little where 1 - exp(-tau) would round to nothing
        return tau * (ONE - HALF * tau), slope
    return ONE - math.exp(-tau), slope


@njit(cache=True, nogil=True, fastmath=FAST)
def forward(n, density, features, occupied, paths, settings, out, part, parts):
    channels, delta, weight = features.shape[1], settings.delta, np.empty(8, np.float32)
    for ray in range(len(out)):
        if ray // BLOCK % parts != part:
            continue
        origin, direction, total = paths.origin[ray], paths.direction[ray], out[ray]
        start = paths.near[ray] + paths.jitter[ray] * delta
        transmitted = foggy = ONE
        opacity = deep = slope = NONE
        for step in range(math.ceil((paths.far[ray] - start) / delta)):
            t = start + np.float32(step) * delta
            base = _voxels(n, occupied, origin, direction, t, weight)
            if base < 0:
                continue
            stopped, _ = _stopped(_blend(n, density, base, weight), delta * settings.scale)
            w = transmitted * stopped
            opacity += w
            deep += w * t
            slope += w * settings.beta / (ONE + settings.beta * w)
            foggy *= ONE + settings.beta * w  # at most exp(BETA), as the weights sum to at most 1
            for m in range(channels):
                feature = _blend_column(n, features, base, weight, m)
                total[m] += w / (ONE + math.exp(-feature)) if settings.colourful else w * feature
            transmitted -= w
            if transmitted <= settings.spent:
                break
        total[channels], total[channels + 1] = opacity, deep
        total[channels + 2], total[channels + 3] = math.log(foggy), slope


@njit(cache=True, nogil=True, fastmath=FAST)
def backward(
    n, density, features, occupied, paths, settings, out, grad, to_density, to_features, rows, part, parts
):  # fmt: skip
    channels, delta = features.shape[1], settings.delta
    weight, pull = np.empty(8, np.float32), np.empty(channels, np.float32)
    for ray in range(len(out)):
        if ray // BLOCK % parts != part:
            continue
        origin, direction, g = paths.origin[ray], paths.direction[ray], grad[ray]
        to_opacity, to_depth, to_fog = g[channels], g[channels + 1], g[channels + 2]
        rest = to_fog * out[ray, channels + 3]  # sum of w_i u_i of this sample and those behind it
        touched = to_fog != 0
        for m in range(channels + 2):
            rest += g[m] * out[ray, m]
            touched |= g[m] != 0
        if not touched:
            continue
        start = paths.near[ray] + paths.jitter[ray] * delta
        transmitted = ONE
        for step in range(math.ceil((paths.far[ray] - start) / delta)):
            t = start + np.float32(step) * delta
            base = _voxels(n, occupied, origin, direction, t, weight)
            if base < 0:
                continue
            stopped, slope = _stopped(_blend(n, density, base, weight), delta * settings.scale)
            w = transmitted * stopped
            transmitted -= w
            u = to_opacity + to_depth * t + to_fog * settings.beta / (ONE + settings.beta * w)
            a, b = base + n, base + n * n
            c = b + n
            for m in range(channels):
                feature = _blend_column(n, features, base, weight, m)
                pull[m] = w * g[m]
                if settings.colourful:
                    feature = ONE / (ONE + math.exp(-feature))
                    pull[m] *= feature * (ONE - feature)
                u += g[m] * feature
            for m in range(channels):
                p = pull[m]
                to_features[base, m] += weight[0] * p
                to_features[base + 1, m] += weight[1] * p
                to_features[a, m] += weight[2] * p
                to_features[a + 1, m] += weight[3] * p
                to_features[b, m] += weight[4] * p
                to_features[b + 1, m] += weight[5] * p
                to_features[c, m] += weight[6] * p
                to_features[c + 1, m] += weight[7] * p
            spent = transmitted <= settings.spent
            rest = NONE if spent else rest - w * u  # without round-off where nothing is behind
            p = (transmitted * u - rest) * slope
            to_density[base] += weight[0] * p
            to_density[base + 1] += weight[1] * p
            to_density[a] += weight[2] * p
            to_density[a + 1] += weight[3] * p
            to_density[b] += weight[4] * p
            to_density[b + 1] += weight[5] * p
            to_density[c] += weight[6] * p
            to_density[c + 1] += weight[7] * p
            rows[base // n] = rows[a // n] = rows[b // n] = rows[c // n] = True
            if spent:
                break


@njit(cache=True, nogil=True, fastmath=FAST)
def add_up(n, to_density, to_features, rows, part, parts):
    """Sum the threads' grids into the first."""
    for row in range(part, n * n, parts):
        for thread in range(1, len(rows)):
            if rows[thread, row]:
                for v in range(row * n, (row + 1) * n):
                    to_density[0, v] += to_density[thread, v]
                    for m in range(to_features.shape[2]):
                        to_features[0, v, m] += to_features[thread, v, m]
