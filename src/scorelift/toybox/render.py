"""Sphere tracing of solids, batched: layers of shaded paint, and the colours laid on them.

A picture of a toy is linear in its colours, so the renderer returns one shaded coverage layer for each free paint slot,
the rgb of the fixed slots, and opacity. `paint` lays colours and a background on them: one traced toy serves every
colouring and every background.

Ref: Hart, "Sphere tracing" (1996); cone pre-pass as in Bálint & Valasek (2018).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..core.cameras import Cameras, Window
from ..core.lights import Lights
from .palette import FREE_SLOTS, fixed_rgb
from .solid import Solid

LAYERS = FREE_SLOTS + 4
TILE = 4
BALL = 1.0
"Every toy lies inside this ball (tested), so rays are traced only within it."


@dataclass(frozen=True)
class Surface:
    """First surface points along rays; rows are padded to the longest of the batch, `valid` tells which count."""

    ray: Int[Tensor, "b k"]
    valid: Bool[Tensor, "b k"]
    depth: Float[Tensor, "b k"]
    xyz: Float[Tensor, "b k 3"]


def _ball_span(origin: Tensor, direction: Tensor, radius: float | Tensor) -> tuple[Tensor, Tensor]:
    """Entry and exit distances of rays through the centred ball; entry > exit where they miss."""
    b = (origin * direction).sum(-1)
    disc = b * b - (origin * origin).sum(-1) + radius * radius
    root = disc.clamp_min(0).sqrt()
    near = torch.where(disc > 0, -b - root, torch.inf)
    return near.clamp_min(0), torch.where(disc > 0, -b + root, -torch.inf)


def _pick(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (B, K) of the set entries of each row, padded to the longest row, and which of them are real."""
    k = max(int(mask.sum(1).max()), 1)
    index = mask.to(torch.uint8).topk(k, dim=1).indices
    return index, mask.gather(1, index)


def _take(t: Tensor, index: Tensor) -> Tensor:
    if t.dim() == 2:
        return t.gather(1, index)
    return t.gather(1, index[..., None].expand(*index.shape, t.shape[-1]))


def trace(solid: Solid, origin: Tensor, direction: Tensor, start: Tensor, far: Tensor, steps: int = 48) -> Surface:
    """First hits of rays (B, N, 3) that start at distance `start` and end at `far`, both (B, N)."""
    t = start.clone()
    live, valid = _pick(start < far)
    hit = torch.zeros_like(start, dtype=torch.bool)
    for i in range(0, steps, 4):
        o, d, tt, end = origin, _take(direction, live), _take(t, live), _take(far, live)
        for _ in range(4):
            gap = solid.distance(o + tt[..., None] * d)
            tt = tt + gap
        done = gap.abs() < 1.5e-3
        arrived = (done | (gap < 0) | ((i + 4 >= steps) & (gap < 0.02))) & (tt < end) & valid
        t.scatter_(1, live, torch.where(valid, tt, _take(t, live)))
        hit.scatter_(1, live, arrived | hit.gather(1, live))
        going = ~arrived & (tt < end) & valid
        if not going.any():
            break
        again, valid = _pick(going)
        live = live.gather(1, again)
    ray, valid = _pick(hit)
    depth = _take(t, ray)
    return Surface(ray, valid, depth, origin + depth[..., None] * _take(direction, ray))


def _tile_starts(solid: Solid, origin: Tensor, tiles: Tensor, steps: int = 14) -> tuple[Tensor, Tensor]:
    """March a cone around each tile of rays (B, M, 16, 3); where its rays can start, and which tiles may hit."""
    axis = torch.nn.functional.normalize(tiles.mean(2), dim=-1)
    spread = (tiles - axis[:, :, None]).norm(dim=-1).amax(-1) * 1.02
    near, far = _ball_span(origin, axis, BALL + (origin.norm(dim=-1) + BALL) * spread)
    live, valid = _pick(near < far)
    axis, spread, t, far = _take(axis, live), _take(spread, live), _take(near, live), _take(far, live)
    blocked = torch.zeros_like(valid)
    for _ in range(steps):
        room = solid.distance(origin + t[..., None] * axis) - spread * t
        blocked = room < 0.01
        t = torch.where(blocked, t, t + room.clamp_min(0.01) / (1 + spread))
    may_hit = valid & (t < far)
    starts = torch.full_like(near, torch.inf).scatter_(1, live, torch.where(may_hit, t, torch.inf))
    return starts.clamp_min(0), starts < torch.inf


def find_surface(
    solid: Solid, cameras: Cameras, size: int, window: Window | None = None
) -> tuple[Surface, Float[Tensor, "b n 3"]]:
    """Surface points through the `size` x `size` pixel centres, and the directions; `ray` indexes row-major pixels.

    With a window, the pixels are those of the window, and no other rays are traced.
    """
    position, direction = cameras.rays(size, size, window)
    b, side = len(cameras), size if window is None else window.size
    n = side // TILE
    pixel = (
        torch.arange(side * side, device=position.device).view(n, TILE, n, TILE).transpose(1, 2).reshape(-1, TILE**2)
    )
    flat = direction.reshape(b, -1, 3)
    origin = position[:, None]
    starts, may_hit = _tile_starts(solid, origin, flat[:, pixel])
    tile, real = _pick(may_hit)
    rays = pixel[tile].reshape(b, -1)
    some = _take(flat, rays)
    near, far = _ball_span(origin, some, BALL)
    start = torch.maximum(_take(starts, tile).repeat_interleave(TILE**2, dim=1), near)
    start = torch.where(real.repeat_interleave(TILE**2, dim=1), start, torch.inf)
    found = trace(solid, origin, some, start, far)
    return Surface(rays.gather(1, found.ray), found.valid, found.depth, found.xyz), flat


@torch.no_grad()
def render_layers(
    solid: Solid, cameras: Cameras, lights: Lights, size: int = 64, supersample: int = 2, *,
    textureless: bool = False, window: Window | None = None,
) -> Float[Tensor, "b layers side side"]:  # fmt: skip
    """Shaded coverage of the free slots, rgb of the fixed ones, opacity: all premultiplied, antialiased, in [0, 1].

    With `textureless`, everything is in the main slot: painted white it is the shape alone. With a window, only that
    part of the `size` x `size` pictures is rendered.
    """
    side = size if window is None else window.size
    fine = side * supersample
    surface, _ = find_surface(solid, cameras, size * supersample, window and window.finer(supersample))
    slot = torch.zeros_like(surface.ray) if textureless else solid.slot(surface.xyz)
    shade = lights.shade(surface.xyz, solid.normal(surface.xyz))
    fixed = torch.cat([torch.zeros(FREE_SLOTS, 3), fixed_rgb()]).to(shade.device)
    value = torch.cat(
        [
            torch.nn.functional.one_hot(slot.clamp_max(FREE_SLOTS), FREE_SLOTS + 1)[..., :FREE_SLOTS]
            * shade[..., None],
            fixed[slot] * shade[..., None],
            torch.ones_like(shade)[..., None],
        ],
        dim=-1,
    )
    value = torch.where(surface.valid[..., None], value, 0.0)
    b = len(cameras)
    image = torch.zeros(b, fine * fine, LAYERS, device=shade.device)
    image.scatter_add_(1, surface.ray[..., None].expand_as(value), value)
    image = image.view(b, side, supersample, side, supersample, LAYERS).mean((2, 4))
    return image.permute(0, 3, 1, 2)


def paint(
    layers: Float[Tensor, "b layers h w"], colours: Float[Tensor, "b slots 3"], background: Float[Tensor, "b 3 #h #w"]
) -> Float[Tensor, "b 3 h w"]:
    """Lay colours (the first FREE_SLOTS rows count) and a background on layers; linear rgb in [0, 1]."""
    free = torch.einsum("bshw,bsc->bchw", layers[:, :FREE_SLOTS], colours[:, :FREE_SLOTS])
    return (free + layers[:, FREE_SLOTS:-1] + (1 - layers[:, -1:]) * background).clamp(0, 1)
