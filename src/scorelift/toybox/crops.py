"""Crops of large pictures: where they look, and what lies behind the toy there.

A denoiser of low noise need not see whole pictures: what it does at a pixel depends on the surroundings. Crops show it
more toys for the same work, and only their rays are traced.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.cameras import Cameras, Window
from ..core.samplers import BackdropSampler
from .render import TILE, find_surface
from .solid import Solid

WHOLE = 256
"Height and width of the pictures that crops are parts of."
CROP = 96
COARSE = 32


def draw_windows(solid: Solid, cameras: Cameras, generator: torch.Generator) -> Window:
    """A crop of each camera's picture around a random pixel of the toy, off the crop's centre by up to a third.

    Its corner is one of the renderer's tiles, so that it is what the whole picture would show.
    """
    surface, _ = find_surface(solid, cameras, COARSE)
    chances = surface.valid.float() + 1e-9
    pixel = surface.ray.gather(1, torch.multinomial(chances, 1, generator=generator))[:, 0]
    jitter = (torch.rand(2, len(cameras), generator=generator) - 0.5) * (2 / 3 * CROP)
    step = WHOLE // COARSE
    centre = torch.stack([pixel // COARSE, pixel % COARSE]) * step + step / 2 + jitter
    row, column = ((centre - CROP / 2) / TILE).round().long().mul(TILE).clamp(0, WHOLE - CROP)
    return Window(row, column, CROP)


def crop(pictures: Float[Tensor, "b c h w"], window: Window) -> Float[Tensor, "b c size size"]:
    """The window's part of pictures."""
    along = torch.arange(window.size, device=pictures.device)
    rows, columns = window.row[:, None] + along, window.column[:, None] + along
    each = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    return pictures.movedim(1, -1)[each, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def backdrop_crops(corners: list[tuple[int, int]], size: int, generator: torch.Generator) -> Float[Tensor, "b 3 s s"]:
    """What a backdrop of the whole picture shows in crops with these upper left corners (row, column)."""
    whole = BackdropSampler().draw(len(corners), WHOLE, generator)
    row, column = torch.tensor(corners).unbind(-1)
    return crop(whole, Window(row, column, size))
