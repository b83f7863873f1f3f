"""A field on a voxel grid. Empty voxels are skipped and rays end where they are opaque: the cost follows the surface.

Ref: SJC Sec. 4.2; post-activated density as in DVGO (Sun et al. 2022).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.errors import bad, check_choice, check_not_negative, check_positive, check_range
from ..core.lights import Shading
from ..kernels.composite import SPENT, weights_packed
from ..kernels.trilinear import corners, gather
from .fields import Field, Lookup, March, Rays, Sums, ball_span, box_span
from .grids import Roughness, slopes
from .occupancy import grown, occupied_samples


@dataclass(frozen=True, kw_only=True)
class VoxelConfig:
    """A voxel field inside the unit ball, or the box around it."""

    resolution: int = 64
    "Voxels along an edge of [-1, 1]^3."
    density_scale: float = 30.0
    "density = density_scale * softplus(gain * raw + density_shift)."
    density_shift: float = 0.0
    learned_gain: bool = False
    "Whether the gain is learned; else it is 1."
    blob_radius: float = 0.5
    "The field begins as a soft ball of this radius ..."
    blob_sharpness: float = 6.0
    "... raw = blob_sharpness * (1 - |x| / blob_radius), between -blob_depth and blob_depth."
    blob_depth: float = 4.0
    grey: float = 0.0
    "Initial raw albedo; 0 is mid grey ..."
    albedo_spread: float = 0.0
    "... and the standard deviation around it, always the same numbers."
    shape: Literal["ball", "box"] = "ball"
    "Where the field ends: at the unit ball, or at the box the grid fills."
    step: float = 1.0
    "Distance between samples, in voxels."
    prune_from: float = 0.15
    "Progress of the stage from which empty voxels are skipped."
    prune_alpha: float = 0.004
    "A voxel is empty when a step through it has less opacity than this."
    albedo_rate: float = 1.0
    "Learning rate of the albedo, relative to the density's."
    environment: bool = False
    "Whether the background is a learned panorama ..."
    environment_rate: float = 0.01
    "... and its learning rate, relative to the density's."
    latent: int = 0
    "Channels of a prior's own space, rendered as they are in place of colours; 0: colours. Set by `Stage.latent`."

    def __post_init__(self) -> None:
        if self.resolution < 8:
            raise bad("resolution", expected="at least 8 voxels", got=self.resolution)
        for name in ("density_scale", "blob_radius", "step"):
            check_positive(name, getattr(self, name))
        for name in ("blob_sharpness", "blob_depth", "albedo_spread", "latent"):
            check_range(name, getattr(self, name), 0, 1e3)
        for name in ("albedo_rate", "environment_rate"):
            check_not_negative(name, getattr(self, name))
        for name in ("prune_from", "prune_alpha"):
            check_range(name, getattr(self, name), 0, 1)
        check_choice("shape", self.shape, ("ball", "box"))


class VoxelField(Field):
    """Raw density and albedo on a grid over [-1, 1]^3, interpolated, then activated."""

    extent = 1.0
    occupied: Tensor
    look: Tensor
    "Rows (channels and 1) of the linear map from a latent to rgb; there only if latents are rendered."

    def __init__(self, config: VoxelConfig) -> None:
        super().__init__()
        self.config = config
        n = config.resolution
        axis = torch.linspace(-1, 1, n)
        radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
        blob = (config.blob_sharpness * (1 - radius / config.blob_radius)).clamp(-config.blob_depth, config.blob_depth)
        self.density = nn.Parameter(blob[..., None].contiguous())
        albedo = torch.full((n, n, n, config.latent or 3), config.grey)
        if config.albedo_spread:
            albedo += config.albedo_spread * torch.randn(albedo.shape, generator=torch.Generator().manual_seed(0))
        self.albedo = nn.Parameter(albedo)
        self.log_gain = nn.Parameter(torch.zeros(())) if config.learned_gain else None
        self.register_buffer("occupied", torch.ones(n, n, n, dtype=torch.bool))
        if config.latent:
            self.register_buffer("look", torch.zeros(config.latent + 1, 3))
        self.detail = 2 / (n - 1)
        self.spare: dict = {}
        "Memory that the compiled passes use again (`kernels.voxel_unlit.Spare`)."

    @property
    def resolution(self) -> int:
        return self.density.shape[0]

    @property
    def reach(self) -> float:
        return self.extent * (1.0 if self.config.shape == "ball" else math.sqrt(3))

    @property
    def delta(self) -> float:
        """Distance between samples along a ray."""
        return self.config.step * self.detail

    def groups(self, rate: float) -> list[dict]:
        gain = [] if self.log_gain is None else [self.log_gain]
        return [
            {"params": [self.density, *gain], "lr": rate},
            {"params": [self.albedo], "lr": rate * self.config.albedo_rate},
        ]

    def raw(self) -> Float[Tensor, "x y z 1"]:
        """What is interpolated, then activated."""
        gain, shift = self.log_gain, self.config.density_shift
        raw = self.density if gain is None else self.density * gain.exp()
        return raw + shift if shift else raw

    def span(self, origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"]) -> tuple[Tensor, Tensor]:
        """Distances at which rays enter and leave the field."""
        return (ball_span if self.config.shape == "ball" else box_span)(origin, direction, self.extent)

    @torch.no_grad()
    def update(self, step: int, progress: float) -> None:
        """Renew the map of occupied voxels every 16 steps, once `prune_from` is reached."""
        if progress >= self.config.prune_from and step % 16 == 0:
            self._renew_occupancy()

    @torch.no_grad()
    def _renew_occupancy(self) -> None:
        alpha = 1 - torch.exp(-self.delta * self.activate(self.raw()[..., 0]))
        self.occupied.copy_(grown(alpha > self.config.prune_alpha))

    @torch.no_grad()
    def take(self, other: VoxelField) -> None:
        """Start from another grid, interpolated to this resolution."""
        size = (self.resolution,) * 3

        def resize(grid: Tensor) -> Tensor:
            volume = F.interpolate(grid.permute(3, 0, 1, 2)[None], size, mode="trilinear", align_corners=True)
            return volume[0].permute(1, 2, 3, 0)

        raw = resize(other.raw())
        if other.config.density_scale != self.config.density_scale:
            raw = self.raw_of(other.activate(raw))
        self.density.copy_(raw - self.config.density_shift)
        self.albedo.copy_(resize(other.albedo))
        self._renew_occupancy()

    @torch.no_grad()
    def coloured(self) -> VoxelField:
        """The field in colours, for people and meshes: latents through their linear map to rgb."""
        field = VoxelField(replace(self.config, latent=0, albedo_spread=0.0))
        rgb = self.albedo @ self.look[:-1] + self.look[-1]
        state = {**self.state_dict(), "albedo": rgb.clamp(0.01, 0.99).logit()}
        state.pop("look")
        field.load_state_dict(state)
        return field

    def activate(self, raw: Tensor) -> Tensor:
        """Density of an interpolated raw value."""
        return self.config.density_scale * F.softplus(raw)

    def raw_of(self, density: Tensor) -> Tensor:
        """Raw values of densities, the inverse of `activate`; at least -11.5."""
        soft = (density / self.config.density_scale).clamp(1e-5, 1e3)
        return soft + torch.log(-torch.expm1(-soft))

    def normal_grid(self) -> Float[Tensor, "x y z 3"]:
        """Unit normals at the voxels."""
        return -slopes(self.raw()[..., 0])

    def roughness(self) -> Float[Tensor, ""]:
        """Mean squared difference of the raw densities of neighbouring voxels, summed over the axes."""
        return Roughness.apply(self.density[..., 0])

    def at(self, xyz: Float[Tensor, "n 3"]) -> VoxelLookup:
        ball = self.config.shape == "ball"
        inside = xyz.square().sum(-1) <= 1 if ball else (xyz.abs() <= 1).all(-1)
        return VoxelLookup(self, *corners(xyz, self.resolution), inside)

    def march(
        self, origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"], jitter: Float[Tensor, " r"]
    ) -> March:
        """Evenly spaced samples in occupied voxels, up to where 99.99 % of the light is stopped."""
        span = self.span(origin, direction)
        ray, depth = occupied_samples(self.occupied, origin, direction, jitter, span, self.delta)
        xyz = origin[ray] + depth[:, None] * direction[ray]
        delta = torch.full_like(depth, self.delta)
        index, weight = corners(xyz, self.resolution)
        with torch.no_grad():
            density = self.activate(gather(self.raw().detach(), index, weight)[:, 0])
            seen = (weights_packed(density, delta, ray, len(origin))[1] > SPENT).nonzero()[:, 0]
        ray, depth, delta, xyz, index, weight = (t[seen] for t in (ray, depth, delta, xyz, index, weight))
        return March(ray, depth, delta, xyz, VoxelLookup(self, index, weight))

    def integrate(self, rays: Rays, shading: Shading) -> Sums:
        """As any field, but in one compiled pass where there is one: float32 on a CPU."""
        if self.config.latent and shading in ("shaded", "textureless"):
            raise bad("shading", expected="albedo for a field of latents", got=shading)
        slow = shading == "normal" and (torch.is_grad_enabled() or self.config.latent)
        if slow or self.density.device.type != "cpu" or self.density.dtype != torch.float32:
            return super().integrate(rays, shading)
        from . import compiled  # numba takes its time, and a GPU needs none

        if shading == "normal":
            return compiled.normals(self, rays)
        return compiled.unlit(self, rays) if shading == "albedo" else compiled.lit(self, rays, shading)


class VoxelLookup(Lookup):
    """Interpolation at points whose voxels and weights are known."""

    def __init__(self, field: VoxelField, index: Tensor, weight: Tensor, inside: Tensor | None = None) -> None:
        self.field, self.index, self.weight, self.inside = field, index, weight, inside

    def density(self) -> Float[Tensor, " n"]:
        density = self.field.activate(gather(self.field.raw(), self.index, self.weight)[:, 0])
        return density if self.inside is None else density * self.inside

    def albedo(self) -> Float[Tensor, "n c"]:
        raw = gather(self.field.albedo, self.index, self.weight)
        return raw if self.field.config.latent else raw.sigmoid()

    def normal(self) -> Float[Tensor, "n 3"]:
        return F.normalize(gather(self.field.normal_grid(), self.index, self.weight), dim=-1, eps=1e-4)
