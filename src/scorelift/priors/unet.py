"""The U-shaped stack of convolutions that the closed world's denoisers are made of, and how they are scaled.

Ref: Karras et al., "Elucidating the design space of diffusion-based generative models" (2022), Table 1; shifting the
parameters to low resolution as in Imagen's Efficient U-Net (Saharia et al. 2022, B.1).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True, kw_only=True)
class TrunkConfig:
    """Sizes of one U-shaped stack."""

    widths: tuple[int, ...] = (48, 96, 192)
    encoder_blocks: tuple[int, ...] = (1, 2, 2)
    decoder_blocks: tuple[int, ...] = (2, 2, 2)
    self_attention: tuple[bool, ...] = (False, False, True)
    cross_attention: tuple[bool, ...] = (False, True, True)
    embedding: int = 256
    head: int = 32
    text_dim: int = 192
    sigma_data: float = 0.5
    "Spread of what it denoises: pictures."
    crops: bool = False
    "Made for parts of pictures: no pixel is told its place, and each is normalized by itself."


Module = TypeVar("Module", bound=nn.Module)


def channels_last(net: Module) -> Module:
    """The network with its weights laid out as CPU and GPU convolutions like them."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@dataclass(frozen=True)
class TextFeatures:
    """A prompt as the network reads it."""

    tokens: Float[Tensor, "b length dim"]
    pooled: Float[Tensor, "b dim"]
    padding: Bool[Tensor, "b length"]


class PixelNorm(nn.LayerNorm):
    """Normalizes the features of each pixel by themselves, so that what lies far away changes nothing."""

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _norm(config: TrunkConfig, groups: int, dim: int, *, affine: bool = True) -> nn.Module:
    return PixelNorm(dim, elementwise_affine=affine) if config.crops else nn.GroupNorm(groups, dim, affine=affine)


class Attention(nn.Module):
    """Residual attention of pixels to each other or to the prompt's tokens."""

    def __init__(self, dim: int, context_dim: int | None, config: TrunkConfig) -> None:
        super().__init__()
        self.heads = dim // config.head
        self.norm = _norm(config, 1, dim)
        self.query = nn.Linear(dim, dim, bias=False)
        self.key = nn.Linear(context_dim or dim, dim, bias=False)
        self.value = nn.Linear(context_dim or dim, dim, bias=False)
        self.out = nn.Linear(dim, dim)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor, text: TextFeatures | None) -> Tensor:
        b, c, h, w = x.shape
        y = self.norm(x).permute(0, 2, 3, 1).reshape(b, h * w, c)
        source = y if text is None else text.tokens
        split = (self.heads, c // self.heads)
        q, k, v = (
            t.unflatten(-1, split).transpose(1, 2) for t in (self.query(y), self.key(source), self.value(source))
        )
        mask = None if text is None else ~text.padding[:, None, None, :]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        y = self.out(y.transpose(1, 2).reshape(b, h * w, c))
        return x + y.reshape(b, h, w, c).permute(0, 3, 1, 2)


class Block(nn.Module):
    """Residual block of two 3 x 3 convolutions, scaled and shifted by the embedding, then optional attention."""

    def __init__(self, dim: int, config: TrunkConfig, *, look: bool, read: bool) -> None:
        super().__init__()
        groups = dim // 16
        self.norm1, self.norm2 = _norm(config, groups, dim), _norm(config, groups, dim, affine=False)
        self.conv1, self.conv2 = nn.Conv2d(dim, dim, 3, padding=1), nn.Conv2d(dim, dim, 3, padding=1)
        self.modulate = nn.Linear(config.embedding, 2 * dim)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.modulate.weight)
        self.look = Attention(dim, None, config) if look else None
        self.read = Attention(dim, config.text_dim, config) if read else None

    def forward(self, x: Tensor, embedding: Tensor, text: TextFeatures) -> Tensor:
        y = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(embedding)[:, :, None, None].chunk(2, dim=1)
        x = x + self.conv2(F.silu(self.norm2(y) * (1 + scale) + shift))
        if self.look is not None:
            x = self.look(x, None)
        if self.read is not None:
            x = self.read(x, text)
        return x


class Trunk(nn.Module):
    """Residual blocks down and up again on (b, inputs, h, w), told the noise level, the prompt and the place.

    Crops have no place.
    """

    frequencies: Tensor

    def __init__(self, config: TrunkConfig, *, inputs: int, outputs: int) -> None:
        super().__init__()
        self.crops, widths = config.crops, config.widths
        self.register_buffer("frequencies", torch.exp(torch.linspace(math.log(0.5), math.log(24.0), 32)))
        self.noise = nn.Sequential(
            nn.Linear(64, config.embedding), nn.SiLU(), nn.Linear(config.embedding, config.embedding)
        )
        self.prompt = nn.Linear(config.text_dim, config.embedding)
        self.stem = nn.Conv2d(inputs if self.crops else inputs + 2, widths[0], 3, padding=1)

        def level(i: int, count: int) -> nn.ModuleList:
            look, read = config.self_attention[i], config.cross_attention[i]
            return nn.ModuleList(Block(widths[i], config, look=look, read=read) for _ in range(count))

        self.encoder = nn.ModuleList(level(i, n) for i, n in enumerate(config.encoder_blocks))
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))
        self.decoder = nn.ModuleList(level(i, n) for i, n in enumerate(config.decoder_blocks))
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(widths))
        self.norm = _norm(config, widths[0] // 16, widths[0])
        self.out = nn.Conv2d(widths[0], outputs, 3, padding=1)
        nn.init.zeros_(self.out.weight)

    @property
    def edge(self) -> list[nn.Module]:
        """First and last layers, which are trained unlike the hidden ones."""
        return [self.stem, self.out, self.noise]

    def forward(self, x: Tensor, sigma_ve: Tensor, text: TextFeatures) -> Tensor:
        b, _, h, w = x.shape
        waves = (sigma_ve.to(x.dtype).log()[:, None] / 4) * self.frequencies
        embedding = F.silu(self.noise(torch.cat([waves.sin(), waves.cos()], 1)) + self.prompt(text.pooled))
        if not self.crops:
            rows = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)
            columns = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype)
            place = torch.stack(torch.meshgrid(rows, columns, indexing="ij")).expand(b, 2, h, w)
            x = torch.cat([x, place], 1)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips = []
        for i, blocks in enumerate(self.encoder):
            if i:
                x = self.down[i - 1](x)
            for block in cast(nn.ModuleList, blocks):
                x = block(x, embedding, text)
            skips.append(x)
        for i in reversed(range(len(self.decoder))):
            if i < len(self.decoder) - 1:
                x = F.interpolate(self.up[i](x), scale_factor=2.0, mode="nearest") + skips[i]
            for block in cast(nn.ModuleList, self.decoder[i]):
                x = block(x, embedding, text)
        return self.out(F.silu(self.norm(x)))


def skip_and_scales(sigma_ve: Tensor, sigma_data: float, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """EDM's c_skip, c_in and c_out, each (b, 1, 1, 1)."""
    s, d = sigma_ve[:, None, None, None].to(like.dtype), sigma_data
    total = (s * s + d * d).rsqrt()
    return (d * total) ** 2, total, s * d * total


class Denoiser(nn.Module, ABC):
    """D(y; sigma_ve, text) -> x0 in VE form, y = x0 + sigma_ve * noise, with the text encoder that it listens to."""

    config: Any
    "Its sizes, a dataclass."

    @abstractmethod
    def read(self, ids: Tensor) -> TextFeatures:
        """Features of padded token ids (b, length)."""

    @abstractmethod
    def forward(self, y: Float[Tensor, "b 3 h w"], sigma_ve: Float[Tensor, " b"], text: TextFeatures) -> Tensor:
        """The denoised pictures."""

    @property
    @abstractmethod
    def trunks(self) -> tuple[Trunk, ...]:
        """Its convolutional parts."""
