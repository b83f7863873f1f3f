"""What fields that are networks share: how rays are sampled, normals, where it is empty, their values on a grid."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import check_at_least, check_choice, check_not_negative, check_positive
from ..core.lights import Shading
from ..kernels.composite import weights_dense
from .fields import Field, Lookup, March, Rays, Sums, ball_span
from .occupancy import Occupancy
from .voxels import VoxelConfig, VoxelField

RENEW = 16
"Steps between looks at where there is density."
PICTURE = 1 << 13
"Rays taken together where no gradients are asked for."


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """A network field inside a ball."""

    extent: float = 1.0
    "Radius of the bounding sphere."
    density_bias: float = 0.0
    "Added to the network's raw density."
    coarse_samples: int = 64
    "Stratified samples a ray."
    fine_samples: int = 64
    "Samples a ray drawn where the stratified ones found density."
    normals: Literal["analytic", "differences"] = "analytic"
    "Normals from the gradient of the network, or from differences of density over `difference`: cheaper."
    difference: float = 0.01
    oriented: bool = False
    "Whether unlit pictures have normals as well, as the orientation penalty needs them."
    occupancy: int = 0
    "Cells along an edge of a map of where there is density; samples elsewhere are skipped. 0: none, as in the paper."
    environment: bool = True
    "Whether the background is a network of the ray's direction; else the recipe's backdrops."
    environment_width: int = 64
    environment_rate: float = 1.0
    "Learning rate of that network, relative to the stage's."

    def __post_init__(self) -> None:
        check_choice("normals", self.normals, ("analytic", "differences"))
        for name in ("extent", "coarse_samples", "difference"):
            check_positive(name, getattr(self, name))
        for name in ("fine_samples", "occupancy"):
            check_at_least(name, getattr(self, name), 0)
        check_at_least("environment_width", self.environment_width)
        check_not_negative("environment_rate", self.environment_rate)


class NetworkField(Field):
    """Density and albedo that are computed from a position."""

    config: NetworkConfig

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.extent, self.oriented = config.extent, config.oriented
        self.detail = 2 * config.extent / (config.coarse_samples + config.fine_samples)
        self.occupancy = Occupancy(config.occupancy, config.extent) if config.occupancy else None

    @property
    def stride(self) -> float:
        """Length over which a cell must stop light to count as occupied."""
        return self.detail

    @abstractmethod
    def raw(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, "n 4"]:
        """Raw density and raw albedo."""

    @abstractmethod
    def density_of(self, raw: Float[Tensor, " n"], xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Density of a raw one; 0 outside the bounding sphere."""

    def density_at(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        return self.density_of(self.raw(xyz)[:, 0], xyz)

    def integrate(self, rays: Rays, shading: Shading) -> Sums:
        """As any field; for pictures, of which nothing is kept for the way back, in parts, so that any size fits."""
        if torch.is_grad_enabled() or len(rays.jitter) <= PICTURE:
            return super().integrate(rays, shading)
        return Sums.joined([super(NetworkField, self).integrate(part, shading) for part in rays.split(PICTURE)])

    def update(self, step: int, progress: float) -> None:
        if self.occupancy is not None and step % RENEW == 0:
            self.occupancy.renew(self.density_at, self.stride)

    def at(self, xyz: Float[Tensor, "n 3"]) -> NetworkLookup:
        return NetworkLookup(self, xyz)

    @torch.no_grad()
    def voxels(self, resolution: int) -> VoxelField:
        """Its values on a grid, which is much quicker to look at; for fields within the unit ball."""
        field = VoxelField(VoxelConfig(resolution=resolution, density_scale=30.0, prune_alpha=1e-3))
        axis = torch.linspace(-1, 1, resolution, device=next(self.parameters()).device)
        grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).view(-1, 3)
        densities, albedos = [], []
        for xyz in grid.split(1 << 17):
            raw = self.raw(xyz)
            densities.append(self.density_of(raw[:, 0], xyz))
            albedos.append(raw[:, 1:])
        field.density.copy_(field.raw_of(torch.cat(densities)).view_as(field.density))
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
                density = self.density_at(xyz).view(len(ray), n)
                edges = refine(edges, weights_dense(density, edges[:, 1:] - edges[:, :-1]), m, jitter[ray])
        length = edges[:, 1:] - edges[:, :-1]
        depth = edges[:, :-1] + jitter[ray, None] * length
        flat_ray = ray.repeat_interleave(depth.shape[1])
        depth, length = depth.reshape(-1), length.reshape(-1)
        xyz = origin[flat_ray] + depth[:, None] * direction[flat_ray]
        if self.occupancy is not None:
            there = self.occupancy.at(xyz)
            flat_ray, depth, length, xyz = (t[there] for t in (flat_ray, depth, length, xyz))
        return March(flat_ray, depth, length, xyz, NetworkLookup(self, xyz))


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


class NetworkLookup(Lookup):
    """The network evaluated once at some points."""

    def __init__(self, field: NetworkField, xyz: Tensor) -> None:
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
            total = total - self.field.density_at(xyz)[:, None] * offset
        return F.normalize(total, dim=-1, eps=1e-6)

    def _analytic_normal(self) -> Float[Tensor, "n 3"]:
        learning = torch.is_grad_enabled()
        with torch.enable_grad():
            if learning:
                density, xyz = self.density(), self.xyz
            else:
                xyz = self.xyz.detach().requires_grad_()
                density = self.field.density_at(xyz)
            (gradient,) = torch.autograd.grad(density.sum(), xyz, create_graph=learning)
        return F.normalize(-gradient, dim=-1, eps=1e-6)
