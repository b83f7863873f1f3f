"""DreamFusion's field: a residual network over integrated positional encodings.

Ref: DreamFusion App. A.2: isotropic covariance annealed (Eq. 8), 5 residual blocks of 128, SiLU, layer norm between
blocks, exp density, sigmoid albedo, a blob of density at the origin (Eq. 9). Integrated encoding: mip-NeRF (Barron et
al. 2021), Eq. 14.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import check_choice, check_positive
from ..core.schedules import Ramp, Schedule
from ..kernels.composite import weights_dense
from .fields import Field, Lookup, March, ball_span
from .occupancy import Occupancy
from .voxels import VoxelConfig, VoxelField

RENEW = 16
"Steps between looks at where there is density."


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
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
    density_bias: float = 0.0
    "Added to the network's log density."
    extent: float = 1.4
    "Radius of the bounding sphere."
    coarse_samples: int = 64
    "Stratified samples a ray."
    fine_samples: int = 64
    "Samples a ray drawn where the stratified ones found density."
    normals: Literal["analytic", "differences"] = "analytic"
    "Normals from the gradient of the network, or from differences of density over `difference`: cheaper."
    difference: float = 0.01
    occupancy: int = 0
    "Cells along an edge of a map of where there is density; samples elsewhere are skipped. 0: none, as in the paper."
    environment: bool = True
    "Whether the background is a network of the ray's direction; else the recipe's backdrops."
    environment_width: int = 64

    def __post_init__(self) -> None:
        check_choice("normals", self.normals, ("analytic", "differences"))
        for name in ("frequencies", "blocks", "width", "blob_width", "extent", "coarse_samples", "difference"):
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


class MLPField(Field):
    """Density and albedo of one network."""

    def __init__(self, config: MLPConfig) -> None:
        super().__init__()
        self.config = config
        self.extent = config.extent
        self.detail = 2 * config.extent / (config.coarse_samples + config.fine_samples)
        self.net = ResidualMLP(6 * config.frequencies, config.width, config.blocks, 4)
        self.spread = config.spread.at(1.0)
        self.occupancy = Occupancy(config.occupancy, config.extent) if config.occupancy else None

    def groups(self, rate: float) -> list[dict]:
        return [{"params": list(self.parameters()), "lr": rate}]

    def update(self, step: int, progress: float) -> None:
        self.spread = self.config.spread.at(progress)
        if self.occupancy is not None and step % RENEW == 0:
            self.occupancy.renew(lambda xyz: self.density_of(self.raw(xyz)[:, 0], xyz), self.detail)

    def raw(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, "n 4"]:
        """The network's outputs: log density and raw albedo."""
        return self.net(integrated_encoding(xyz, self.spread, self.config.frequencies))

    def density_of(self, raw: Float[Tensor, " n"], xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Density of a raw output: exp of it, and the blob; 0 outside the bounding sphere."""
        config = self.config
        square = xyz.square().sum(-1)
        blob = config.blob * torch.exp(-square / (2 * config.blob_width**2))
        return ((raw + config.density_bias).clamp_max(12).exp() + blob) * (square <= config.extent**2)

    def at(self, xyz: Float[Tensor, "n 3"]) -> MLPLookup:
        return MLPLookup(self, xyz)

    @torch.no_grad()
    def voxels(self, resolution: int) -> VoxelField:
        """Its values on a grid, which is much quicker to look at; for fields within the unit ball."""
        scale = 30.0
        field = VoxelField(VoxelConfig(resolution=resolution, density_scale=scale, prune_alpha=1e-3))
        axis = torch.linspace(-1, 1, resolution, device=self.net.first.weight.device)
        grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)
        densities, albedos = [], []
        for xyz in grid.split(1 << 17):
            raw = self.raw(xyz)
            densities.append(self.density_of(raw[:, 0], xyz))
            albedos.append(raw[:, 1:])
        soft = (torch.cat(densities) / scale).clamp(1e-5, 1e3)
        field.density.copy_((soft + torch.log(-torch.expm1(-soft))).view_as(field.density))
        field.albedo.copy_(torch.cat(albedos).view_as(field.albedo))
        field.update(0, 1.0)
        return field

    def march(
        self, origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"], jitter: Float[Tensor, " r"]
    ) -> March:
        """Stratified samples, and more where they found density (inverse transform sampling of the weights)."""
        near, far = ball_span(origin, direction, self.extent)
        ray = torch.nonzero(far > near)[:, 0]
        near, far = near[ray, None], far[ray, None]
        n, m = self.config.coarse_samples, self.config.fine_samples
        edges = near + (far - near) * torch.linspace(0, 1, n + 1, device=near.device, dtype=near.dtype)
        middles = (edges[:, 1:] + edges[:, :-1]) / 2
        if m:
            with torch.no_grad():
                xyz = (origin[ray, None] + middles[..., None] * direction[ray, None]).reshape(-1, 3)
                density = self.density_of(self.raw(xyz)[:, 0], xyz).view(len(ray), n)
                edges = refine(edges, weights_dense(density, edges[:, 1:] - edges[:, :-1]), m, jitter[ray])
        length = edges[:, 1:] - edges[:, :-1]
        depth = edges[:, :-1] + jitter[ray, None] * length
        flat_ray = ray.repeat_interleave(depth.shape[1])
        depth, length = depth.reshape(-1), length.reshape(-1)
        xyz = origin[flat_ray] + depth[:, None] * direction[flat_ray]
        if self.occupancy is not None:
            there = self.occupancy.at(xyz)
            flat_ray, depth, length, xyz = (t[there] for t in (flat_ray, depth, length, xyz))
        return March(flat_ray, depth, length, xyz, MLPLookup(self, xyz))


def refine(
    edges: Float[Tensor, "r k"], weights: Float[Tensor, "r j"], more: int, jitter: Float[Tensor, " r"]
) -> Float[Tensor, "r m"]:
    """Interval edges with `more` further ones where the weights are, sorted.

    Ref: NeRF (Mildenhall et al. 2020), Sec. 5.2: inverse transform sampling of the piecewise constant weights.
    """
    share = weights + 1e-3 * (weights.amax(-1, keepdim=True) + 1e-5)
    cdf = torch.cat([torch.zeros_like(share[:, :1]), torch.cumsum(share, -1)], -1)
    cdf = cdf / cdf[:, -1:]
    u = (torch.arange(more, device=edges.device, dtype=edges.dtype) + jitter[:, None]) / more
    above = torch.searchsorted(cdf, u, right=True).clamp(1, cdf.shape[1] - 1)
    low, high = cdf.gather(1, above - 1), cdf.gather(1, above)
    start, end = edges.gather(1, above - 1), edges.gather(1, above)
    extra = start + (u - low) / (high - low).clamp_min(1e-9) * (end - start)
    return torch.cat([edges, extra], -1).sort(-1).values


class MLPLookup(Lookup):
    """The network evaluated once at some points."""

    def __init__(self, field: MLPField, xyz: Tensor) -> None:
        self.field, self.xyz = field, xyz
        self._raw: Tensor | None = None

    @property
    def raw(self) -> Float[Tensor, "n 4"]:
        """Outputs at the points; computed once."""
        if self._raw is None:
            if self.field.config.normals == "analytic" and torch.is_grad_enabled():
                self.xyz = self.xyz.detach().requires_grad_()
            self._raw = self.field.raw(self.xyz)
        return self._raw

    def density(self) -> Float[Tensor, " n"]:
        return self.field.density_of(self.raw[:, 0], self.xyz)

    def albedo(self) -> Float[Tensor, "n 3"]:
        return self.raw[:, 1:].sigmoid()

    def normal(self) -> Float[Tensor, "n 3"]:
        if self.field.config.normals == "analytic":
            return self._analytic_normal()
        step = self.field.config.difference
        total = torch.zeros_like(self.xyz)
        for corner in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
            offset = self.xyz.new_tensor(corner)
            xyz = self.xyz.detach() + step * offset
            density = self.field.density_of(self.field.raw(xyz)[:, 0], xyz)
            total = total - density[:, None] * offset
        return F.normalize(total, dim=-1, eps=1e-6)

    def _analytic_normal(self) -> Float[Tensor, "n 3"]:
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            if learning:
                density, xyz = self.density(), self.xyz
            else:
                xyz = self.xyz.detach().requires_grad_()
                density = self.field.density_of(self.field.raw(xyz)[:, 0], xyz)
            (gradient,) = torch.autograd.grad(density.sum(), xyz, create_graph=learning)
        return F.normalize(-gradient, dim=-1, eps=1e-6)


class Sky(nn.Module):
    """A network from the encoded direction of a ray to the colour behind everything. Ref: DreamFusion Sec. 3.1."""

    def __init__(self, width: int, frequencies: int = 4) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.net = nn.Sequential(nn.Linear(6 * frequencies, width), nn.SiLU(), nn.Linear(width, 3))

    def forward(self, direction: Float[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
        """Colours seen along unit directions."""
        features = integrated_encoding(direction.reshape(-1, 3), 0.0, self.frequencies)
        return self.net(features).sigmoid().view(*direction.shape[:3], 3).permute(0, 3, 1, 2)
