"""DreamFusion's field: a residual network over integrated positional encodings.

Ref: DreamFusion App. A.2: isotropic covariance annealed (Eq. 8), 5 residual blocks of 128, SiLU, layer norm between
blocks, exp density, sigmoid albedo, a blob of density at the origin (Eq. 9). Integrated encoding: mip-NeRF (Barron et
al. 2021), Eq. 14.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import check_positive
from ..core.schedules import Ramp, Schedule
from .base import Single
from .network import NetworkConfig, NetworkField


@dataclass(frozen=True, kw_only=True)
class MLPConfig(NetworkConfig):
    """DreamFusion's numbers."""

    frequencies: int = 8
    "Encoding frequencies 2^0 ... 2^(L-1)."
    spread: Schedule = Ramp(5e-2, 2e-3, until=1 / 3)
    "lambda of the covariance lambda^2 I; annealed over 5,000 of 15,000 steps."
    blocks: int = 5
    width: int = 128
    blob: float = 5.0
    "lambda_tau: density of the blob at the origin ..."
    blob_width: float = 0.2
    "sigma_tau: ... and its standard deviation."
    extent: float = 1.4

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("frequencies", "blocks", "width", "blob_width"):
            check_positive(name, getattr(self, name))


def integrated_encoding(mean: Float[Tensor, "n d"], spread: float, frequencies: int) -> Float[Tensor, "n features"]:
    """Expected sines and cosines of 2^l x for x ~ N(mean, spread^2 I): each damped by exp(-4^l spread^2 / 2).

    >>> integrated_encoding(torch.zeros(1, 1), 1.0, 2)
    tensor([[0.0000, 0.0000, 0.6065, 0.1353]])
    """
    scale = 2.0 ** torch.arange(frequencies, device=mean.device, dtype=mean.dtype)
    damp = torch.exp(-0.5 * (scale * spread) ** 2)
    angle = mean[:, None, :] * scale[:, None]
    return torch.cat([(angle.sin() * damp[:, None]).flatten(1), (angle.cos() * damp[:, None]).flatten(1)], -1)


class ResidualMLP(nn.Module):
    """`blocks` residual blocks of two layers, layer norm between them."""

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.last = nn.Linear(width, outputs)
        nn.init.normal_(self.last.weight, std=0.02)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(F.silu(x))


class MLPField(NetworkField):
    """Density and albedo of one network."""

    config: MLPConfig

    def __init__(self, config: MLPConfig) -> None:
        super().__init__(config)
        self.net = ResidualMLP(6 * config.frequencies, config.width, config.blocks, 4)
        self.spread = config.spread.at(1.0)

    def groups(self, rate: float) -> list[dict]:
        return [{"params": list(self.parameters()), "lr": rate}]

    def update(self, step: int, progress: float) -> None:
        self.spread = self.config.spread.at(progress)
        super().update(step, progress)

    def raw(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, "n 4"]:
        """The network's outputs: log density and raw albedo."""
        return self.net(integrated_encoding(xyz, self.spread, self.config.frequencies))

    def density_of(self, raw: Float[Tensor, " n"], xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Density of a raw output: exp of it, and the blob; 0 outside the bounding sphere."""
        config = self.config
        square = xyz.square().sum(-1)
        blob = config.blob * torch.exp(-square / (2 * config.blob_width**2))
        return ((raw + config.density_bias).clamp_max(12).exp() + blob) * (square <= config.extent**2)


class Sky(Single):
    """A network from the encoded direction of a ray to the colour behind everything. Ref: DreamFusion Sec. 3.1."""

    def __init__(self, width: int, frequencies: int = 4) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.net = nn.Sequential(nn.Linear(6 * frequencies, width), nn.SiLU(), nn.Linear(width, 3))

    def forward(self, direction: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
        """Colours seen along unit directions."""
        features = integrated_encoding(direction.reshape(-1, 3), 0.0, self.frequencies)
        return self.net(features).sigmoid().view(*direction.shape[:3], 3).permute(0, 3, 1, 2)
