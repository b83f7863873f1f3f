"""A field of two small networks over a multiresolution hash encoding.

Ref: Müller et al., "Instant neural graphics primitives" (2022), Sec. 3 and 5.4; DreamFlow App. D.1 for its numbers and
the density it begins with, which are those of Magic3D (Lin et al. 2023): softplus(raw + blob (1 - |x| / blob_radius)).
Levels that fade in: Nerfies (Park et al. 2021), Eq. 8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import check_not_negative, check_positive, check_range
from ..core.schedules import Constant, Schedule
from ..kernels.hash_encoding import HashLevels, encode
from .network import NetworkConfig, NetworkField


@dataclass(frozen=True, kw_only=True)
class HashConfig(NetworkConfig):
    """DreamFlow's numbers."""

    levels: int = 16
    features: int = 4
    "Features a level."
    log2_rows: int = 19
    "Logarithm of the most rows a level has in the table."
    coarsest: int = 16
    finest: int = 2048
    "Cells along an edge of the first level and of the last; those between grow by one factor."
    bands: Schedule = Constant(1.0)
    "Share of the levels that are seen, coarsest first; the one at the border is faded. 1: all, as in the paper."
    width: int = 64
    "Of the networks of one hidden layer, one for density and one for albedo."
    blob: float = 10.0
    "lambda_tau: raw density added at the origin; negative for scenes seen from inside ..."
    blob_radius: float = 0.5
    "c: ... and the distance from it at which nothing is added. Farther out it is taken away."
    table_spread: float = 1e-4
    "The table begins with numbers between this and its negative."
    network_rate: float = 0.1
    "Learning rate of the two networks, relative to the table's."
    coarse_samples: int = 512
    fine_samples: int = 0
    normals: Literal["analytic", "differences"] = "differences"
    environment_rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("width", "blob_radius"):
            check_positive(name, getattr(self, name))
        check_range("table_spread", self.table_spread, 0, 1)
        check_not_negative("network_rate", self.network_rate)
        self.grids()

    def grids(self) -> HashLevels:
        """The grids of the encoding."""
        return HashLevels(
            levels=self.levels, features=self.features, log2_rows=self.log2_rows,
            coarsest=self.coarsest, finest=self.finest,
        )  # fmt: skip


def band_weights(seen: float, levels: int) -> list[float]:
    """Weights of levels of which so many are seen: 1 for those, a half cosine for the next, 0 for finer ones.

    >>> band_weights(1.5, 3)
    [1.0, 0.5, 0.0]
    """
    return [round((1 - math.cos(math.pi * min(max(seen - level, 0.0), 1.0))) / 2, 12) for level in range(levels)]


def _head(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """A network of one hidden layer, without offsets: what it says of a place is in the table."""
    return nn.Sequential(
        nn.Linear(inputs, width, bias=False), nn.ReLU(inplace=True), nn.Linear(width, outputs, bias=False)
    )


class HashField(NetworkField):
    """Density and albedo from the features of a place."""

    config: HashConfig
    window: Tensor

    def __init__(self, config: HashConfig) -> None:
        super().__init__(config)
        self.grids = config.grids()
        spread = config.table_spread
        self.table = nn.Parameter(torch.empty(self.grids.total, config.features).uniform_(-spread, spread))
        self.density = _head(self.grids.width, config.width, 1)
        self.albedo = _head(self.grids.width, config.width, 3)
        self.register_buffer("window", torch.ones(self.grids.width), persistent=False)
        self._show(1.0)

    @property
    def stride(self) -> float:
        """A cell's own length: steps are much shorter."""
        return max(self.detail, 2 * self.extent / max(self.config.occupancy, 1))

    def groups(self, rate: float) -> list[dict]:
        networks = [*self.density.parameters(), *self.albedo.parameters()]
        return [
            {"params": [self.table], "lr": rate},
            {"params": networks, "lr": rate * self.config.network_rate},
        ]

    def update(self, step: int, progress: float) -> None:
        self._show(progress)
        super().update(step, progress)

    def _show(self, progress: float) -> None:
        weights = band_weights(self.config.bands.at(progress) * self.config.levels, self.config.levels)
        self.window.copy_(torch.tensor(weights).repeat_interleave(self.config.features))

    def features(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, "n features"]:
        """Features of places, those of levels that are not seen yet faded."""
        return encode(self.table, xyz / self.extent, self.grids) * self.window

    def raw(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, "n 4"]:
        """Raw density and raw albedo."""
        features = self.features(xyz)
        return torch.cat([self.density(features), self.albedo(features)], -1)

    def density_at(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Density alone, without the other network."""
        return self.density_of(self.density(self.features(xyz))[:, 0], xyz)

    def density_of(self, raw: Float[Tensor, " n"], xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Density of a raw one: softplus of it and the bias; 0 outside the bounding sphere."""
        config = self.config
        radius = (xyz.square().sum(-1) + 1e-12).sqrt()  # with a slope at the origin
        bias = config.density_bias + config.blob * (1 - radius / config.blob_radius)
        return F.softplus(raw + bias) * (radius <= config.extent)
