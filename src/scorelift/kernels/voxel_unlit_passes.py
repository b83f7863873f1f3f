"""The passes of unlit rays through voxel grids, forward and backward.

A ray is taken in chunks of its samples in occupied voxels: first their densities are read, then what follows from them
is computed for all of a chunk (which the compiler does several at a time), then their features are read, as far as
light comes; what a chunk wants next is fetched while it is worked on. What was read is kept for the way back, which
only adds. Single precision. `lanes` is a tuple as long as there are channels, so that their number is known when
compiling.

Ref: DreamFusion Eq. 5; SJC Eq. 25. With u_i = dL/dw_i and tau_i = density_i delta:
dL/dtau_k = T_{k+1} u_k - sum_{i > k} w_i u_i.
"""

from __future__ import annotations

import math

import numpy as np

from .compiling import fast, inlined
from .lanes import blended, deposit, every, exp, log1p, sigmoid, soon, stopped, whole

BLOCK = 64
"Neighbouring rays that one thread takes together; blocks go round the threads, so that each has part of the object."
CHUNK = 32
"Samples of a ray that are taken together."
NONE, ONE, HALF = (np.float32(value) for value in (0, 1, 0.5))
_NEXT = np.uint64(1)  # unsigned, so that no index is taken to count from the end
_PAIR = (0, 1)  # two voxels, one above the other, as two lanes
STOP, WEIGHT, SLOPE, PULL, ALONG_X, ALONG_Y, ALONG_Z, DEPTH, RAW, FEATURE = range(0, 10 * CHUNK, CHUNK)
"""Where a chunk's numbers begin: share of light stopped, weight, slope of tau over raw, gradient, place between eight
voxels; then what is kept for the way back: distance, raw density, features, channel by channel."""


@inlined
def _place(n, origin, direction, voxel, base, s, count):
    """Where a chunk's samples lie, whose distances are known: the nearest voxel, the lowest of the eight, and the place
    between those. What is not a number stays within the grid.
    """
    half, top, last, cell = HALF * np.float32(n - 1), np.float32(n - 1), np.int32(n - 1), np.int32(n - 2)
    side, zero = np.int32(n), np.int32(0)
    for i in range(count):
        t = s[DEPTH + i]
        x = min(max((origin[0] + t * direction[0] + ONE) * half, NONE), top)
        y = min(max((origin[1] + t * direction[1] + ONE) * half, NONE), top)
        z = min(max((origin[2] + t * direction[2] + ONE) * half, NONE), top)
        a, b, c = whole(x + HALF), whole(y + HALF), whole(z + HALF)
        a, b, c = min(max(a, zero), last), min(max(b, zero), last), min(max(c, zero), last)
        voxel[i] = (a * side + b) * side + c
        a, b, c = whole(x), whole(y), whole(z)
        a, b, c = min(max(a, zero), cell), min(max(b, zero), cell), min(max(c, zero), cell)
        base[i] = (a * side + b) * side + c
        s[ALONG_X + i], s[ALONG_Y + i], s[ALONG_Z + i] = x - np.float32(a), y - np.float32(b), z - np.float32(c)


@inlined
def _edges(n, voxel, size):
    """Where the numbers begin, `size` a voxel, of the lower voxels on the four upright edges between eight."""
    a, row, slab = np.uint64(voxel) * size, np.uint64(n) * size, np.uint64(n * n) * size
    return a, a + row, a + slab, a + slab + row


@inlined
def _march(n, density, features, occupied, lanes, origin, direction, start, delta, step, steps, voxel, base, s):
    """Read the densities of a chunk's steps where voxels are occupied; gives how many there are."""
    length, count, channels = min(CHUNK, steps - step), 0, np.uint64(len(lanes))
    for i in range(length):
        s[DEPTH + i] = start + np.float32(step + i) * delta
    _place(n, origin, direction, voxel, base, s, length)
    for i in range(length):
        here = occupied[np.uint64(voxel[i])]
        base[count], s[DEPTH + count] = base[i], s[DEPTH + i]
        s[ALONG_X + count], s[ALONG_Y + count], s[ALONG_Z + count] = s[ALONG_X + i], s[ALONG_Y + i], s[ALONG_Z + i]
        soon(density, _edges(n, base[i], _NEXT))
        count += here
    for i in range(count):
        f, g, h = s[ALONG_X + i], s[ALONG_Y + i], s[ALONG_Z + i]
        shares = (ONE - f) * (ONE - g), (ONE - f) * g, f * (ONE - g), f * g
        below, above = blended(density, _PAIR, _edges(n, base[i], _NEXT), shares)
        s[RAW + i] = below + h * (above - below)
        soon(features, _edges(n, base[i], channels))
    return count


@inlined
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


@inlined
def _read(n, features, lanes, base, s, count):
    """Read the features of a chunk: of each four voxels one number more than there are channels, for four are read at
    once and three are not; that is the first of the voxel above, or the last of the one below.
    """
    channels = np.uint64(len(lanes))
    for i in range(count):
        f, g, h = s[ALONG_X + i], s[ALONG_Y + i], s[ALONG_Z + i]
        a, b, c, d = _edges(n, base[i], channels)
        p, q, r, t, low = (ONE - f) * (ONE - g), (ONE - f) * g, f * (ONE - g), f * g, ONE - h
        below = blended(features, (*lanes, 0), (a, b, c, d), (p * low, q * low, r * low, t * low))
        a, b, c, d = a + channels - _NEXT, b + channels - _NEXT, c + channels - _NEXT, d + channels - _NEXT
        above = blended(features, (*lanes, 0), (a, b, c, d), (p * h, q * h, r * h, t * h))
        for m in range(len(lanes)):
            s[FEATURE + m * CHUNK + i] = below[m] + above[m + 1]


@fast
def forward(n, density, features, occupied, paths, settings, lanes, out, chunks, part, parts):
    """Fill rows of `out`. For a way back also the number of chunks in each row of `chunks`, which else has none; gives
    what is kept of them, one after the other: how many samples, then the chunk's numbers from DEPTH on.
    """
    channels, delta, thickness = len(lanes), settings.delta, settings.delta * settings.scale
    s = np.empty(FEATURE + CHUNK * channels, np.float32)
    voxel, base = np.empty(CHUNK, np.int32), np.empty(CHUNK, np.int32)
    size, used = len(s) - DEPTH + 1, 0
    kept = np.empty(4 * size * min(len(chunks) // parts, 8192), np.float32)
    for ray in range(len(out)):
        if ray // BLOCK % parts != part:
            continue
        origin, direction, total = paths.origin[ray], paths.direction[ray], out[ray]
        start = paths.near[ray] + paths.jitter[ray] * delta
        step, steps = 0, math.ceil((paths.far[ray] - start) / delta)
        transmitted = foggy = ONE
        opacity = deep = slope = NONE
        while step < steps and transmitted > settings.spent:
            count = _march(
                n, density, features, occupied, lanes, origin, direction, start, delta, step, steps, voxel, base, s
            )
            step += CHUNK
            if not count:
                continue
            count, transmitted = _weigh(s, count, thickness, transmitted, settings.spent)
            _read(n, features, lanes, base, s, count)
            if len(chunks):
                if used + size > len(kept):
                    kept = np.append(kept, np.empty(len(kept) + size, np.float32))
                kept[used], kept[used + 1 : used + size] = count, s[DEPTH:]
                used += size
                chunks[ray] += 1
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
    return kept[:used]


@inlined
def _pulls(g, settings, lanes, s, count, before, rest):
    """Gradients of a chunk, on raw densities and features in their places; gives light and sum behind it."""
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
        s[RAW + i] = (before * u - rest) * s[SLOPE + i]
    return before, rest


@inlined
def _add(n, lanes, base, s, count, to_voxels, rows):
    """Add a chunk's gradients, on raw density in RAW and on features behind it, to the voxels'."""
    row, record = np.uint64(n), np.uint64(len(lanes) + 1)
    for i in range(count):
        f, g, h, line = s[ALONG_X + i], s[ALONG_Y + i], s[ALONG_Z + i], np.uint64(base[i]) // row
        rows[line] = rows[line + _NEXT] = rows[line + row] = rows[line + row + _NEXT] = True
        a, b, c, d = _edges(n, base[i], record)
        p, q, r, t, low = (ONE - f) * (ONE - g), (ONE - f) * g, f * (ONE - g), f * g, ONE - h
        places = a, a + record, b, b + record, c, c + record, d, d + record
        shares = p * low, p * h, q * low, q * h, r * low, r * h, t * low, t * h
        deposit(to_voxels, places, shares, every(s, lanes, RAW + i, CHUNK))


@fast
def backward(n, paths, settings, lanes, out, chunks, kept, grad, to_voxels, rows, part, parts):
    channels, record, thickness = len(lanes), np.uint64(len(lanes) + 1), settings.delta * settings.scale
    s = np.empty(FEATURE + CHUNK * channels, np.float32)
    voxel, base = np.empty(CHUNK, np.int32), np.empty(CHUNK, np.int32)
    size, used = len(s) - DEPTH + 1, 0
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
            used += size * chunks[ray]
            continue
        transmitted = ONE
        for _ in range(chunks[ray]):
            count, before = int(kept[used]), transmitted
            s[DEPTH:] = kept[used + 1 : used + size]
            used += size
            _place(n, origin, direction, voxel, base, s, count)
            for i in range(count):
                soon(to_voxels, _edges(n, base[i], record))
            _, transmitted = _weigh(s, count, thickness, transmitted, settings.spent)
            before, rest = _pulls(g, settings, lanes, s, count, before, rest)
            _add(n, lanes, base, s, count, to_voxels, rows)


@fast
def hand_out(n, lanes, to_voxels, rows, to_density, to_features, part, parts):
    """Sum the threads' gradients of voxels into those of the grids, and leave zeros in their place."""
    channels, record = len(lanes), len(lanes) + 1
    for row in range(n * n):
        if row // n % parts != part:  # whole slabs, so that threads are seldom in one another's way
            continue
        first, last = row * n, (row + 1) * n
        to_density[first:last] = NONE
        to_features[first * channels : last * channels] = NONE
        for thread in range(len(rows)):
            if rows[thread, row]:
                for v in range(first, last):
                    to_density[v] += to_voxels[thread, v * record]
                    for m in range(channels):
                        to_features[v * channels + m] += to_voxels[thread, v * record + 1 + m]
                to_voxels[thread, first * record : last * record] = NONE
                rows[thread, row] = False
