"""Between colours and the space a checkpoint's network works in."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from .checkpoint import number


def scaled(rgb: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b 3 s s"]:
    """Pictures at the size a checkpoint was trained at."""
    if rgb.shape[-1] == side:
        return rgb
    return F.interpolate(rgb, (side, side), mode="bilinear", antialias=True)


class Latents:
    """The space of a variational autoencoder: z = (mean - shift) * scale, or normalized channel by channel."""

    def __init__(self, vae: Any, side: int, factor: int) -> None:
        config = vae.config
        unit = number(config, "vae", "scaling_factor", int | float)
        self.vae, self.pixels = vae, side * factor
        mean, std = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
        shift = torch.tensor(mean if mean is not None else getattr(config, "shift_factor", None) or 0.0)
        scale = torch.tensor(unit) / torch.tensor(std if std is not None else 1.0)
        self.shift, self.scale = shift.view(-1, 1, 1), scale.view(-1, 1, 1)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.vae.parameters()).dtype

    def encode(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b c m n"]:
        """Means of the encoder, without its noise; pictures of another size are enlarged first."""
        rgb = scaled(rgb, self.pixels)
        mean = self.vae.encode((rgb * 2 - 1).to(self.dtype)).latent_dist.mode().float()
        return (mean - self.shift.to(mean)) * self.scale.to(mean)

    def decode(self, z: Float[Tensor, "b c m n"]) -> Float[Tensor, "b 3 h w"]:
        latent = z / self.scale.to(z) + self.shift.to(z)
        return ((self.vae.decode(latent.to(self.dtype)).sample.float() + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def linear_look(self, device: torch.device) -> Float[Tensor, "c1 3"]:
        """Rows (channels and 1) of the linear map from latents to rgb that suits plain colours best."""
        colours = torch.rand(64, 3, generator=torch.Generator().manual_seed(0)).to(device)
        side = self.pixels
        self.pixels = min(side, 64)
        try:
            z = self.encode(colours[:, :, None, None].expand(-1, -1, self.pixels, self.pixels)).mean((2, 3))
        finally:
            self.pixels = side
        known = torch.cat([z, torch.ones_like(z[:, :1])], 1).cpu().double()
        return torch.linalg.lstsq(known, colours.cpu().double()).solution.float()
