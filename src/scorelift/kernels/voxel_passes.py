"""The passes of lit rays through voxel records, forward and backward.

A ray visits occupied voxels only and ends where its light is spent. Nothing is kept between the passes but sums along
rays: the backward one marches again.

Ref: DreamFusion Eq. 5 and 7; SJC Eq. 25 and 26. With u_i = dL/dw_i and tau_i = density_i delta:
dL/dtau_k = T_{k+1} u_k - sum_{i > k} w_i u_i.
"""

from __future__ import annotations

import math

import numpy as np

from .compiling import fast, inlined
from .voxel_records import (
    FEATURES,
    HALF,
    NONE,
    NORMAL_AT,
    ONE,
    RECORD,
)

BLOCK = 64
"Neighbouring rays that one thread takes together; blocks go round the threads, so that each has part of the object."
OPACITY, DEPTH, FOG, FOG_SLOPE, TURNED, NORMAL = range(FEATURES, FEATURES + 6)
SUMS = NORMAL + 3
"Columns of a ray's sums: features, then these; NORMAL is the first of three."
_STEEP, _TWO = np.float32(15), np.float32(2)
_SHORT = np.float32(1e-4)  # normals shorter than this are not stretched to length 1
_TINY = np.float32(1e-12)


@inlined
def _cell(place, n):
    """The voxel at or below a place on one axis."""
    return max(0, min(int(place), n - 2))


@inlined
def _is_occupied(n, occupied, x, y, z):
    i, j, k = int(x + HALF), int(y + HALF), int(z + HALF)
    return occupied[(max(0, min(i, n - 1)) * n + max(0, min(j, n - 1))) * n + max(0, min(k, n - 1))]


@fast
def _corners(n, x, y, z, at, weight):
    """Indices and weights of the eight voxels around a place, in voxel units."""
    last = np.float32(n - 1)
    x, y, z = min(max(x, NONE), last), min(max(y, NONE), last), min(max(z, NONE), last)
    i, j, k = _cell(x, n), _cell(y, n), _cell(z, n)
    fx, fy, fz = x - np.float32(i), y - np.float32(j), z - np.float32(k)
    base = (i * n + j) * n + k
    for c in range(8):
        a, b, d = c >> 2, (c >> 1) & 1, c & 1
        at[c] = base + (a * n + b) * n + d
        weight[c] = (fx if a else ONE - fx) * (fy if b else ONE - fy) * (fz if d else ONE - fz)


@fast
def _gather(records, at, weight, out):
    """Interpolate records."""
    a, b, c, d, e, f, g, h = at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7]
    p, q, r, s, t, u, v, w = weight[0], weight[1], weight[2], weight[3], weight[4], weight[5], weight[6], weight[7]
    for m in range(RECORD):
        out[m] = (
            p * records[a, m] + q * records[b, m] + r * records[c, m] + s * records[d, m]
            + t * records[e, m] + u * records[f, m] + v * records[g, m] + w * records[h, m]
        )  # fmt: skip


@fast
def _scatter(records, at, weight, values):
    """Add to the records that were interpolated."""
    for c in range(8):
        row, share = at[c], weight[c]
        for m in range(RECORD):
            records[row, m] += share * values[m]


@fast
def _light(here, place, light, ambient, toward):
    """Make the record's normal a unit one; returns shade, the cosine to the light and the normal's former length."""
    square = distance = NONE
    for m in range(3):
        toward[m] = light[m] - place[m]
        square += here[NORMAL_AT + m] ** 2
        distance += toward[m] ** 2
    length, distance = max(np.float32(math.sqrt(square)), _SHORT), max(np.float32(math.sqrt(distance)), _TINY)
    cosine = NONE
    for m in range(3):
        here[NORMAL_AT + m] /= length
        toward[m] /= distance
        cosine += here[NORMAL_AT + m] * toward[m]
    return ambient + (ONE - ambient) * max(cosine, NONE), cosine, length


@fast
def forward(n, channels, records, occupied, paths, delta, scale, textureless, spent, beta, out, part, parts):
    half = HALF * np.float32(n - 1)
    at, weight, here = np.empty(8, np.int64), np.empty(8, np.float32), np.empty(RECORD, np.float32)
    place, toward = np.empty(3, np.float32), np.empty(3, np.float32)
    for ray in range(len(out)):
        if ray // BLOCK % parts != part:
            continue
        origin, direction, total = paths.origin[ray], paths.direction[ray], out[ray]
        start = paths.near[ray] + paths.jitter[ray] * delta
        transmitted = foggy = ONE
        for step in range(math.ceil((paths.far[ray] - start) / delta)):
            t = start + np.float32(step) * delta
            for m in range(3):
                place[m] = origin[m] + t * direction[m]
            x, y, z = (place[0] + ONE) * half, (place[1] + ONE) * half, (place[2] + ONE) * half
            if not _is_occupied(n, occupied, x, y, z):
                continue
            _corners(n, x, y, z, at, weight)
            _gather(records, at, weight, here)
            softplus = here[0] if here[0] > _STEEP else math.log(ONE + math.exp(here[0]))
            passing = math.exp(-delta * scale * softplus)
            w = transmitted * (ONE - passing)
            shade, _, _ = _light(here, place, paths.light[ray], paths.ambient[ray], toward)
            facing = NONE
            for m in range(3):
                total[NORMAL + m] += w * here[NORMAL_AT + m]
                facing += here[NORMAL_AT + m] * direction[m]
            total[TURNED] += w * max(facing, NONE) ** 2
            for m in range(channels):
                total[m] += w * shade * (ONE if textureless else ONE / (ONE + math.exp(-here[1 + m])))
            total[OPACITY] += w
            total[DEPTH] += w * t
            total[FOG_SLOPE] += w * beta / (ONE + beta * w)
            foggy *= ONE + beta * w  # at most exp(BETA), as the weights sum to at most 1
            transmitted *= passing
            if transmitted <= spent:
                break
        total[FOG] = math.log(foggy)


@fast
def backward(
    n,
    channels,
    records,
    occupied,
    paths,
    delta,
    scale,
    textureless,
    spent,
    beta,
    out,
    grad,
    to_records,
    part,
    parts,
):
    half = HALF * np.float32(n - 1)
    at, weight, here = np.empty(8, np.int64), np.empty(8, np.float32), np.empty(RECORD, np.float32)
    place, toward, spread = np.empty(3, np.float32), np.empty(3, np.float32), np.zeros(RECORD, np.float32)
    to_records[:] = NONE
    for ray in range(len(out)):
        if ray // BLOCK % parts != part:
            continue
        origin, direction, g = paths.origin[ray], paths.direction[ray], grad[ray]
        rest = g[FOG] * out[ray, FOG_SLOPE]  # sum of w_i u_i of this sample and those behind it
        touched = False
        for m in range(SUMS):
            touched |= g[m] != 0
            if m != FOG and m != FOG_SLOPE and m != TURNED:
                rest += g[m] * out[ray, m]
        if not touched:
            continue
        start = paths.near[ray] + paths.jitter[ray] * delta
        transmitted = ONE
        for step in range(math.ceil((paths.far[ray] - start) / delta)):
            t = start + np.float32(step) * delta
            for m in range(3):
                place[m] = origin[m] + t * direction[m]
            x, y, z = (place[0] + ONE) * half, (place[1] + ONE) * half, (place[2] + ONE) * half
            if not _is_occupied(n, occupied, x, y, z):
                continue
            _corners(n, x, y, z, at, weight)
            _gather(records, at, weight, here)
            grown = math.exp(min(here[0], _TWO * _STEEP))
            softplus = here[0] if here[0] > _STEEP else math.log(ONE + grown)
            passing = math.exp(-delta * scale * softplus)
            w = transmitted * (ONE - passing)
            u = g[OPACITY] + g[DEPTH] * t + g[FOG] * beta / (ONE + beta * w)
            shade, cosine, length = _light(here, place, paths.light[ray], paths.ambient[ray], toward)
            to_shade = NONE
            for m in range(channels):
                if textureless:
                    to_shade += g[m]
                else:
                    colour = ONE / (ONE + math.exp(-here[1 + m]))
                    to_shade += g[m] * colour
                    spread[1 + m] = w * shade * g[m] * colour * (ONE - colour)
            u += shade * to_shade
            facing = along = NONE
            for m in range(3):
                facing += here[NORMAL_AT + m] * direction[m]
                u += g[NORMAL + m] * here[NORMAL_AT + m]
            turned = _TWO * g[TURNED] * max(facing, NONE)
            lit = (ONE - paths.ambient[ray]) * to_shade if cosine > 0 else NONE
            for m in range(3):
                pull = w * (g[NORMAL + m] + turned * direction[m] + lit * toward[m])
                spread[NORMAL_AT + m] = pull
                along += pull * here[NORMAL_AT + m]
            if length <= _SHORT:
                along = NONE
            for m in range(3):
                spread[NORMAL_AT + m] = (spread[NORMAL_AT + m] - along * here[NORMAL_AT + m]) / length
            rest -= w * u
            spread[0] = (transmitted * passing * u - rest) * delta * scale * grown / (ONE + grown)
            _scatter(to_records, at, weight, spread)
            transmitted *= passing
            if transmitted <= spent:
                break
