"""Backdrops that mean nothing: noise, checkerboards and clouds. What only holds before one kind of them is no object.

Ref: Jain et al., "Zero-shot text-guided object generation with Dream Fields" (2022); the authors' public code.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .errors import bad, check_at_least, check_finite, check_range, check_span


@dataclass(frozen=True, kw_only=True)
class TextureSampler:
    """Textures of three kinds, each picture of one of them, then blurred; linear rgb in [0, 1]."""

    noise: float = 1.0
    "How often a picture is noise, each number of each pixel uniform in [0, 1], as against ..."
    checkers: float = 1.0
    "... a checkerboard of two colours, each uniform in [0, 1], as against ..."
    clouds: float = 1.0
    "... a sum of waves of all lengths."
    squares: int = 8
    "Of a checkerboard, along an edge."
    decay: float = 1.5
    "Amplitudes of waves fall with so much of a power of their frequency."
    blur: tuple[float, float] = (0.0, 10 / 224)
    "Standard deviation of the blur, in widths of the picture."

    def __post_init__(self) -> None:
        for name in ("noise", "checkers", "clouds"):
            check_range(name, getattr(self, name), 0, 1e3)
        if not self.noise + self.checkers + self.clouds:
            raise bad("noise", expected="a share above 0 of noise, checkers or clouds", got="0 of each")
        check_at_least("squares", self.squares)
        check_finite("decay", self.decay)
        check_span("blur", self.blur, 0, 0.25)

    def draw(self, n: int, size: int, generator: torch.Generator) -> Float[Tensor, "n 3 size size"]:
        """Draw `n` backdrops."""
        shares = torch.tensor([self.noise, self.checkers, self.clouds])
        chosen = torch.multinomial(shares, n, replacement=True, generator=generator)
        kinds = torch.stack([
            torch.rand(n, 3, size, size, generator=generator),
            checkerboards(torch.rand(2, n, 3, generator=generator), self.squares, size),
            clouds(torch.randn(n, 3, size, size, generator=generator), self.decay),
        ])  # fmt: skip
        low, high = self.blur
        spread = size * (low + (high - low) * torch.rand(n, generator=generator))
        pictures = kinds[chosen, torch.arange(n)]
        return torch.stack([blurred(rgb, float(s)) for rgb, s in zip(pictures, spread, strict=True)])


def checkerboards(colours: Float[Tensor, "2 n 3"], squares: int, size: int) -> Float[Tensor, "n 3 size size"]:
    """Boards of two colours each, the first in the upper left corner."""
    place = torch.arange(size) * squares // size
    odd = ((place[:, None] + place) % 2)[None, None]
    first, second = colours[..., None, None]
    return first * (1 - odd) + second * odd


def clouds(noise: Float[Tensor, "n 3 size size"], decay: float) -> Float[Tensor, "n 3 size size"]:
    """White noise whose waves of frequency f are weighed by f^-decay, brought to a deviation of 1.5; its sigmoid."""
    size = noise.shape[-1]
    frequency = torch.hypot(torch.fft.fftfreq(size)[:, None], torch.fft.rfftfreq(size)).clamp_min(1 / size)
    waves = torch.fft.irfft2(torch.fft.rfft2(noise) * frequency**-decay, s=(size, size))
    return (1.5 * waves / waves.flatten(1).std(-1).view(-1, 1, 1, 1).clamp_min(1e-9)).sigmoid()


def blurred(rgb: Float[Tensor, "3 h w"], spread: float) -> Float[Tensor, "3 h w"]:
    """A picture blurred by a Gaussian of so many pixels, its border continued."""
    reach = min(math.ceil(3 * spread), rgb.shape[-1] - 1)
    if spread < 0.1 or reach < 1:
        return rgb
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / spread) ** 2).view(1, 1, 1, -1)
    kernel = kernel / kernel.sum()
    wide = F.pad(rgb[:, None], (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(wide, kernel), kernel.transpose(2, 3))[:, 0]
