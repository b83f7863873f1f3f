"""The passes of unlit rays through voxel grids, forward and backward.

A ray is taken in chunks of its samples in occupied voxels: first their densities are read, then what follows from them
is computed for all of a chunk (which the compiler does several at a time), then their features are read, as far as
light comes. Compiled by numba at first use, in single precision, and kept on disk. `lanes` is a tuple as long as there
are channels, so that their number is known when compiling.

Ref: DreamFusion Eq. 5; SJC Eq. 25. With u_i = dL/dw_i and tau_i = density_i delta:
dL/dtau_k = T_{k+1} u_k - sum_{i > k} w_i u_i.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .lanes import FAST, exp, log1p, sigmoid, stopped

BLOCK = 64
"Neighbouring rays that one thread takes together; blocks go round the threads, so that each has part of the object."
CHUNK = 32
"Samples of a ray that are taken together."
NONE, ONE, HALF = (np.float32(value) for value in (0, 1, 0.5))
_NEXT = np.uint64(1)  # unsigned, so that no index is taken to count from the end
RAW, STOP, WEIGHT, SLOPE, PULL, DEPTH, ALONG_X, ALONG_Y, ALONG_Z, FEATURE = range(0, 10 * CHUNK, CHUNK)
"""Where a chunk's numbers begin: raw density, share of light stopped, weight, slope of tau over raw, gradient,
distance, place between eight voxels, then features, channel by channel."""


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _march(n, density, occupied, origin, direction, start, delta, step, steps, base, s):
    """Read the densities of a chunk; gives the step after it, and the number of its samples."""
    half, last, top, cell = HALF * np.float32(n - 1), np.float32(n - 1), n - 1, n - 2
    row, slab = np.uint64(n), np.uint64(n * n)
    count = 0
    while step < steps and count < CHUNK:
        t = start + np.float32(step) * delta
        step += 1
        x = (origin[0] + t * direction[0] + ONE) * half
        y = (origin[1] + t * direction[1] + ONE) * half
        z = (origin[2] + t * direction[2] + ONE) * half
        x, y, z = min(max(x, NONE), last), min(max(y, NONE), last), min(max(z, NONE), last)
        i, j, k = int(x + HALF), int(y + HALF), int(z + HALF)  # (what is not a number stays within the grid)
        if not occupied[np.uint64((max(0, min(i, top)) * n + max(0, min(j, top))) * n + max(0, min(k, top)))]:
            continue
        i, j, k = max(0, min(int(x), cell)), max(0, min(int(y), cell)), max(0, min(int(z), cell))
        f, g, h = x - np.float32(i), y - np.float32(j), z - np.float32(k)
        a = np.uint64((i * n + j) * n + k)
        b, c, d = a + row, a + slab, a + slab + row
        base[count] = a
        s[DEPTH + count], s[ALONG_X + count], s[ALONG_Y + count], s[ALONG_Z + count] = t, f, g, h
        low = ONE - h
        near = (ONE - g) * (density[a] * low + density[a + _NEXT] * h) + g * (density[b] * low + density[b + _NEXT] * h)
        far = (ONE - g) * (density[c] * low + density[c + _NEXT] * h) + g * (density[d] * low + density[d + _NEXT] * h)
        s[RAW + count] = (ONE - f) * near + f * far
        count += 1
    return step, count


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _weigh(s, count, thickness, transmitted, spent):
    """Weights of a chunk's samples; gives how many light comes to, and the light behind them."""
    for i in range(count):
        raw = s[RAW + i]
        y = exp(-abs(raw))
        s[STOP + i] = stopped(thickness * (max(raw, NONE) + log1p(y)))
        s[SLOPE + i] = thickness * (ONE if raw > NONE else y) / (ONE + y)
    for i in range(count):
        w = transmitted * s[STOP + i]
        s[WEIGHT + i] = w
        transmitted -= w
        if transmitted <= spent:
            return i + 1, transmitted
    return count, transmitted


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _read(n, features, lanes, base, s, count):
    """Read the features of a chunk."""
    row, slab, channels = np.uint64(n), np.uint64(n * n), np.uint64(len(lanes))
    for i in range(count):
        f, g, h = s[ALONG_X + i], s[ALONG_Y + i], s[ALONG_Z + i]
        a, b, c = base[i] * channels, (base[i] + row) * channels, (base[i] + slab) * channels
        d = c + row * channels
        p, q, r, t, low = (ONE - f) * (ONE - g), (ONE - f) * g, f * (ONE - g), f * g, ONE - h
        for m in range(len(lanes)):
            o, u = np.uint64(m), np.uint64(m + len(lanes))
            below = p * features[a + o] + q * features[b + o] + r * features[c + o] + t * features[d + o]
            above = p * features[a + u] + q * features[b + u] + r * features[c + u] + t * features[d + u]
            s[FEATURE + m * CHUNK + i] = low * below + h * above


@njit(cache=True, nogil=True, fastmath=FAST)
def forward(n, density, features, occupied, paths, settings, lanes, out, part, parts):
    channels, delta, thickness = len(lanes), settings.delta, settings.delta * settings.scale
    s, base = np.empty(FEATURE + CHUNK * channels, np.float32), np.empty(CHUNK, np.uint64)
    for ray in range(len(out)):
        if ray // BLOCK % parts != part:
            continue
        origin, direction, total = paths.origin[ray], paths.direction[ray], out[ray]
        start = paths.near[ray] + paths.jitter[ray] * delta
        step, steps = 0, math.ceil((paths.far[ray] - start) / delta)
        transmitted = foggy = ONE
        opacity = deep = slope = NONE
        while step < steps and transmitted > settings.spent:
            step, count = _march(n, density, occupied, origin, direction, start, delta, step, steps, base, s)
            count, transmitted = _weigh(s, count, thickness, transmitted, settings.spent)
            _read(n, features, lanes, base, s, count)
            for i in range(count):
                w = s[WEIGHT + i]
                opacity += w
                deep += w * s[DEPTH + i]
                slope += w * settings.beta / (ONE + settings.beta * w)
                foggy *= ONE + settings.beta * w  # at most exp(BETA), as the weights sum to at most 1
            for m in range(channels):
                at, colour = FEATURE + m * CHUNK, NONE
                if settings.colourful:
                    for i in range(count):
                        colour += s[WEIGHT + i] * sigmoid(s[at + i])
                else:
                    for i in range(count):
                        colour += s[WEIGHT + i] * s[at + i]
                total[m] += colour
        total[channels], total[channels + 1] = opacity, deep
        total[channels + 2], total[channels + 3] = math.log(foggy), slope


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _pulls(g, settings, lanes, s, count, before, rest):
    """Gradients of a chunk: on raw densities in PULL, on features in their places; gives light and sum behind it."""
    channels = len(lanes)
    to_opacity, to_depth, to_fog = g[channels], g[channels + 1], g[channels + 2]
    for i in range(count):
        fog = settings.beta / (ONE + settings.beta * s[WEIGHT + i])
        s[PULL + i] = to_opacity + to_depth * s[DEPTH + i] + to_fog * fog
    for m in range(channels):
        at, to_colour = FEATURE + m * CHUNK, g[m]
        for i in range(count):
            feature, slope = s[at + i], ONE
            if settings.colourful:
                feature = sigmoid(feature)
                slope = feature * (ONE - feature)
            s[PULL + i] += to_colour * feature
            s[at + i] = s[WEIGHT + i] * to_colour * slope
    for i in range(count):
        w, u = s[WEIGHT + i], s[PULL + i]
        before -= w
        rest = NONE if before <= settings.spent else rest - w * u  # without round-off where nothing is behind
        s[PULL + i] = (before * u - rest) * s[SLOPE + i]
    return before, rest


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def _add(n, lanes, base, s, count, to_density, to_features, rows):
    """Add a chunk's gradients to the grids."""
    row, slab, channels = np.uint64(n), np.uint64(n * n), np.uint64(len(lanes))
    for i in range(count):
        f, g, h = s[ALONG_X + i], s[ALONG_Y + i], s[ALONG_Z + i]
        a, b, c = base[i], base[i] + row, base[i] + slab
        d = c + row
        line = a // row
        rows[line] = rows[line + _NEXT] = rows[line + row] = rows[line + row + _NEXT] = True
        p, q, r, t = (ONE - f) * (ONE - g), (ONE - f) * g, f * (ONE - g), f * g
        low, high = s[PULL + i] * (ONE - h), s[PULL + i] * h
        to_density[a] += p * low
        to_density[a + _NEXT] += p * high
        to_density[b] += q * low
        to_density[b + _NEXT] += q * high
        to_density[c] += r * low
        to_density[c + _NEXT] += r * high
        to_density[d] += t * low
        to_density[d + _NEXT] += t * high
        a, b, c, d = a * channels, b * channels, c * channels, d * channels
        for m in range(len(lanes)):
            o, u, pull = np.uint64(m), np.uint64(m + len(lanes)), s[FEATURE + m * CHUNK + i]
            low, high = pull * (ONE - h), pull * h
            to_features[a + o] += p * low
            to_features[b + o] += q * low
            to_features[c + o] += r * low
            to_features[d + o] += t * low
            to_features[a + u] += p * high
            to_features[b + u] += q * high
            to_features[c + u] += r * high
            to_features[d + u] += t * high


@njit(cache=True, nogil=True, fastmath=FAST)
def backward(
    n, density, features, occupied, paths, settings, lanes, out, grad, to_density, to_features, rows, part, parts
):  # fmt: skip
    channels, delta, thickness = len(lanes), settings.delta, settings.delta * settings.scale
    s, base = np.empty(FEATURE + CHUNK * channels, np.float32), np.empty(CHUNK, np.uint64)
    for ray in range(len(out)):
        if ray // BLOCK % parts != part:
            continue
        origin, direction, g = paths.origin[ray], paths.direction[ray], grad[ray]
        rest = g[channels + 2] * out[ray, channels + 3]  # sum of w_i u_i of this sample and those behind it
        touched = g[channels + 2] != 0
        for m in range(channels + 2):
            rest += g[m] * out[ray, m]
            touched |= g[m] != 0
        if not touched:
            continue
        start = paths.near[ray] + paths.jitter[ray] * delta
        step, steps = 0, math.ceil((paths.far[ray] - start) / delta)
        transmitted = ONE
        while step < steps and transmitted > settings.spent:
            before = transmitted
            step, count = _march(n, density, occupied, origin, direction, start, delta, step, steps, base, s)
            count, transmitted = _weigh(s, count, thickness, transmitted, settings.spent)
            _read(n, features, lanes, base, s, count)
            before, rest = _pulls(g, settings, lanes, s, count, before, rest)
            _add(n, lanes, base, s, count, to_density, to_features, rows)


@njit(cache=True, nogil=True, fastmath=FAST)
def add_up(n, lanes, to_density, to_features, rows, part, parts):
    """Sum the threads' grids into the first."""
    channels = len(lanes)
    for row in range(part, n * n, parts):
        for thread in range(1, len(rows)):
            if rows[thread, row]:
                for v in range(row * n, (row + 1) * n):
                    to_density[0, v] += to_density[thread, v]
                for v in range(row * n * channels, (row + 1) * n * channels):
                    to_features[0, v] += to_features[thread, v]
