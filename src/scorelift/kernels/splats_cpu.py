"""Flat Gaussians blended on a CPU, in one compiled pass each way; the reference is `splats.splat_tiled`.

Gaussians are taken in their order, each with the pixels it reaches, and every pixel keeps what is left of its light.
Rows of pixels are shared out among as many threads as torch uses. On the way back the order is reversed and the light
is found again by dividing. Single precision.

Ref: Kerbl et al. (2023), Sec. 6. With u_i = dL/dw_i and T_i the light that reaches i:
dL/dalpha_i = T_i u_i - sum_{j > i} w_j u_j / (1 - alpha_i).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from .compiling import fast, inlined
from .composite import SPENT
from .threads import share

if TYPE_CHECKING:
    from .splats import Splats

NONE, ONE, TWO, HALF = (np.float32(value) for value in (0, 1, 2, 0.5))
_FAINT, _SOLID, _SPENT = np.float32(1 / 255), np.float32(0.99), np.float32(SPENT)


class _Splat(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, splats: Splats, size: int, *tensors: Tensor) -> Tensor:
        b, _, c = splats.features.shape
        given = [t.detach().contiguous().numpy() for t in tensors]
        order, seen = splats.order().numpy(), splats.seen().numpy()
        out = np.zeros((b, size, size, c + 1), np.float32)
        light, last = np.ones((b, size, size), np.float32), np.full((b, size, size), -1, np.int32)
        share(lambda *part: _forward(order, seen, *given, out, light, last, *part))
        ctx.kept = (order, seen, *given, light, last)
        return torch.from_numpy(out).permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        features, parts = ctx.kept[5], torch.get_num_threads()
        b, n, c = features.shape
        out = np.zeros((parts, b, n, 6 + c), np.float32)
        down = grad.permute(0, 2, 3, 1).contiguous().numpy()
        share(lambda part, parts: _backward(*ctx.kept, down, out[part], part, parts))
        found = torch.from_numpy(out).sum(0) if parts > 1 else torch.from_numpy(out[0])
        return None, None, found[..., :2], found[..., 2:5], found[..., 5], found[..., 6:]


def splat(splats: Splats, size: int) -> Float[Tensor, "b c1 h w"]:
    """As `splats.splat_tiled`; float32, on the CPU."""
    return _Splat.apply(splats, size, splats.mean, splats.conic, splats.alpha, splats.features)


@inlined
def _cells(low, high, count):
    """First and last (excluded) of the `count` cells that reach into an interval, or one more on either side."""
    if not (high > -ONE and low < np.float32(count)):
        return 0, 0
    return int(max(low, NONE)), int(min(high + TWO, np.float32(count)))


@inlined
def _span(y, width, mean, conic, reach):
    """First and last (excluded) column of a row that lie within q <= reach."""
    a, b, c = conic[0], conic[1], conic[2]
    down = np.float32(y) + HALF - mean[1]
    inside = b * down * b * down - a * (c * down * down - reach)
    if not inside > NONE:
        return 0, 0
    middle, half = mean[0] - b * down / a, math.sqrt(inside) / a
    return _cells(middle - half - HALF, middle + half - HALF, width)


@inlined
def _rows(height, mean, conic, reach):
    """First and last (excluded) row within q <= reach."""
    a, b, c = conic[0], conic[1], conic[2]
    half = math.sqrt(reach * a / (a * c - b * b))
    return _cells(mean[1] - half - HALF, mean[1] + half - HALF, height)


@fast
def _forward(order, seen, mean, conic, alpha, features, out, light, last, part, parts):
    views, height, width, channels = out.shape
    for view in range(views):
        for rank in range(seen[view]):
            i = order[view, rank]
            m, q, peak = mean[view, i], conic[view, i], alpha[view, i]
            reach = TWO * math.log(peak / _FAINT)
            top, bottom = _rows(height, m, q, reach)
            for y in range(top + (part - top) % parts, bottom, parts):
                left, right = _span(y, width, m, q, reach)
                down = np.float32(y) + HALF - m[1]
                for x in range(left, right):
                    before = light[view, y, x]
                    if before < _SPENT:
                        continue
                    along = np.float32(x) + HALF - m[0]
                    power = HALF * (q[0] * along * along + q[2] * down * down) + q[1] * along * down
                    at = min(peak * math.exp(-power), _SOLID)
                    if at < _FAINT:
                        continue
                    w = before * at
                    for k in range(channels - 1):
                        out[view, y, x, k] += w * features[view, i, k]
                    out[view, y, x, channels - 1] += w
                    light[view, y, x] = before * (ONE - at)
                    last[view, y, x] = rank


@fast
def _backward(order, seen, mean, conic, alpha, features, light, last, grad, out, part, parts):
    views, height, width, channels = grad.shape
    left_over, behind = light.copy(), np.zeros(light.shape, np.float32)
    for view in range(views):
        for rank in range(seen[view] - 1, -1, -1):
            i = order[view, rank]
            m, q, peak, found = mean[view, i], conic[view, i], alpha[view, i], out[view, i]
            reach = TWO * math.log(peak / _FAINT)
            top, bottom = _rows(height, m, q, reach)
            to_x, to_y, to_a, to_b, to_c, to_peak = NONE, NONE, NONE, NONE, NONE, NONE
            for y in range(top + (part - top) % parts, bottom, parts):
                left, right = _span(y, width, m, q, reach)
                down = np.float32(y) + HALF - m[1]
                for x in range(left, right):
                    if rank > last[view, y, x]:
                        continue
                    along = np.float32(x) + HALF - m[0]
                    power = HALF * (q[0] * along * along + q[2] * down * down) + q[1] * along * down
                    shape = math.exp(-power)
                    at = min(peak * shape, _SOLID)
                    if at < _FAINT:
                        continue
                    before = left_over[view, y, x] / (ONE - at)
                    w, u = before * at, grad[view, y, x, channels - 1]
                    for k in range(channels - 1):
                        g = grad[view, y, x, k]
                        u += g * features[view, i, k]
                        found[6 + k] += w * g
                    if peak * shape < _SOLID:
                        to_at = before * u - behind[view, y, x] / (ONE - at)
                        to_power = -to_at * at
                        to_peak += to_at * shape
                        to_x -= to_power * (q[0] * along + q[1] * down)
                        to_y -= to_power * (q[2] * down + q[1] * along)
                        to_a += to_power * HALF * along * along
                        to_b += to_power * along * down
                        to_c += to_power * HALF * down * down
                    left_over[view, y, x] = before
                    behind[view, y, x] += w * u
            found[0] += to_x
            found[1] += to_y
            found[2] += to_a
            found[3] += to_b
            found[4] += to_c
            found[5] += to_peak
