"""The embedded prior's network: a small text-conditional pixel denoiser for any noise level, coarse to fine.

`UNet` works on pictures in [-1, 1] at 32 x 32. `Pyramid` adds 64 x 64: the mean of each 2 x 2 block of a noisy picture
is a noisy picture of half the size and half the noise, so the small picture is denoised first, and a lighter network
adds the detail within blocks. What the small picture knows of shape and view, the large one cannot forget.

Ref: a U-Net within a U-Net: Gu et al., "Matryoshka diffusion models" (2023); detail given the coarse picture: Denton et
al., "LAPGAN" (2015).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from .sight import Sight
from .text import SKETCH_SIZE, Sketch, TextEncoder
from .unet import Denoiser, TextFeatures, Trunk, TrunkConfig, skip_and_scales

BASE_SIZE = 2 * SKETCH_SIZE


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Sizes of the network."""

    vocabulary: int
    text_layers: int = 3
    block: int = 2
    "Pixels of a side of what the U-Net takes as one place: 1 or 2."
    sight: bool = False
    "Whether it can be told the camera itself."
    sketch: int = 224
    "Width of what sketches the picture."
    base: TrunkConfig = TrunkConfig()
    detail: TrunkConfig = TrunkConfig(
        widths=(32, 64),
        encoder_blocks=(1, 1),
        decoder_blocks=(2, 1),
        self_attention=(False, False),
        cross_attention=(False, False),
        embedding=128,
        sigma_data=0.08,
    )


class UNet(nn.Module):
    """The denoiser D(y; sigma_ve, text) -> x0 in VE form, y = x0 + sigma_ve * noise, at 32 x 32."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config, self.block = config.base, config.block
        dim, inside = config.base.text_dim, 3 * config.block**2
        self.text = TextEncoder(config.vocabulary, dim, config.text_layers, dim // config.base.head)
        self.sight = Sight(dim) if config.sight else None
        self.sketch = Sketch(dim, config.sketch)
        self.trunk = Trunk(config.base, inputs=inside + 4, outputs=inside)

    def read(self, ids: Tensor) -> TextFeatures:
        """Features of padded token ids (b, length)."""
        return TextFeatures(*self.text(ids))

    def see(
        self, text: TextFeatures, camera: Float[Tensor, "b 13"], told: Bool[Tensor, " b"] | None = None
    ) -> TextFeatures:
        """Prompts seen from cameras (`Cameras.numbers`): other pooled features and one more token, where `told`."""
        assert self.sight is not None
        pooled = self.sight(text.pooled, camera)
        told = torch.ones(len(pooled), dtype=torch.bool, device=pooled.device) if told is None else told
        tokens = torch.cat([text.tokens, pooled[:, None]], 1)
        padding = torch.cat([text.padding, ~told[:, None]], 1)
        return TextFeatures(tokens, torch.where(told[:, None], pooled, text.pooled), padding)

    def forward(self, y: Float[Tensor, "b 3 h w"], sigma_ve: Float[Tensor, " b"], text: TextFeatures) -> Tensor:
        skip, c_in, c_out = skip_and_scales(sigma_ve, self.config.sigma_data, y)
        sketch = 2 * self.sketch(text.pooled).to(y.dtype)
        if self.block == 1:
            sketch = double(sketch)
        raw = self.trunk(torch.cat([F.pixel_unshuffle(y * c_in, self.block), sketch], 1), sigma_ve, text)
        return skip * y + c_out * F.pixel_shuffle(raw, self.block)


def halve(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h/2 w/2"]:
    """The means of 2 x 2 blocks."""
    return F.avg_pool2d(x, 2)


def double(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c 2*h 2*w"]:
    """Every pixel as a 2 x 2 block."""
    return x.repeat_interleave(2, -2).repeat_interleave(2, -1)


class Pyramid(Denoiser):
    """The same denoiser at 32 x 32 and 64 x 64: means of 2 x 2 blocks by the U-Net, detail within them by another."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.base = UNet(config)
        self.detail = Trunk(config.detail, inputs=15, outputs=12)

    def read(self, ids: Tensor) -> TextFeatures:
        return self.base.read(ids)

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        return self.base.trunk, self.detail

    def forward(self, y: Float[Tensor, "b 3 h w"], sigma_ve: Float[Tensor, " b"], text: TextFeatures) -> Tensor:
        if y.shape[-1] == BASE_SIZE:
            return self.base(y, sigma_ve, text)
        coarse = self.base(halve(y), sigma_ve / 2, text)
        return double(coarse) + self.add_detail(y, coarse, sigma_ve, text)

    def add_detail(self, y: Tensor, coarse: Tensor, sigma_ve: Tensor, text: TextFeatures) -> Tensor:
        """What each pixel of the denoised picture differs from the mean of its 2 x 2 block."""
        skip, c_in, c_out = skip_and_scales(sigma_ve, self.config.detail.sigma_data, y)
        band = y - double(halve(y))
        raw = self.detail(torch.cat([F.pixel_unshuffle(band * c_in, 2), 2 * coarse], 1), sigma_ve, text)
        raw = F.pixel_shuffle(raw, 2)
        return skip * band + c_out * (raw - double(halve(raw)))
