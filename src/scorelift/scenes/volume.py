"""A radiance field on a voxel grid: density and albedo, rendered by quadrature along rays, lit by a point light.

Empty voxels are skipped and rays end where they are opaque, so the cost follows the object's surface, not the grid.

Ref: DreamFusion Sec. 3.1 (albedo, normals from the density gradient, shading); SJC Sec. 4.2 (voxels); post-activated
density as in DVGO (Sun et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.cameras import Cameras
from ..core.errors import bad, check_positive
from ..core.lights import Lights, Shading
from ..kernels.composite import sum_packed, weights_packed
from ..kernels.trilinear import corners, gather
from .background import Environment
from .base import Render, Samples, Scene


@dataclass(frozen=True, kw_only=True)
class VoxelConfig:
    """A voxel field inside the unit ball."""

    resolution: int = 64
    "Voxels along an edge of [-1, 1]^3."
    density_scale: float = 30.0
    "density = density_scale * softplus(raw)."
    blob_radius: float = 0.5
    "The field begins as a soft ball of this radius ..."
    blob_sharpness: float = 6.0
    "... raw = blob_sharpness * (1 - |x| / blob_radius), at least -blob_depth."
    blob_depth: float = 4.0
    grey: float = 0.0
    "Initial raw albedo; 0 is mid grey."
    step: float = 1.0
    "Distance between samples, in voxels."
    prune_from: float = 0.15
    "Progress of the stage from which empty voxels are skipped."
    prune_alpha: float = 0.004
    "A voxel is empty when a step through it has less opacity than this."
    albedo_rate: float = 1.0
    "Learning rate of the albedo, relative to the density's."
    environment: bool = False
    "Whether the background is a learned panorama."

    def __post_init__(self) -> None:
        if self.resolution < 8:
            raise bad("resolution", expected="at least 8 voxels", got=self.resolution)
        for name in ("density_scale", "blob_radius", "blob_sharpness", "step"):
            check_positive(name, getattr(self, name))


class VoxelVolume(Scene):
    """Density and albedo on a grid over [-1, 1]^3; nothing outside the unit ball."""

    occupied: Tensor
    environment: Environment | None

    def __init__(self, config: VoxelConfig) -> None:
        super().__init__()
        self.config = config
        n = config.resolution
        axis = torch.linspace(-1, 1, n)
        radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
        blob = (config.blob_sharpness * (1 - radius / config.blob_radius)).clamp(-config.blob_depth, config.blob_depth)
        self.density = nn.Parameter(blob[..., None].contiguous())
        self.albedo = nn.Parameter(torch.full((n, n, n, 3), config.grey))
        self.environment = Environment() if config.environment else None
        self.register_buffer("occupied", torch.ones(n, n, n, dtype=torch.bool))

    @property
    def resolution(self) -> int:
        return self.density.shape[0]

    @property
    def delta(self) -> float:
        """Distance between samples along a ray."""
        return self.config.step * 2 / (self.resolution - 1)

    def groups(self, rate: float) -> list[dict]:
        groups = [
            {"params": [self.density], "lr": rate},
            {"params": [self.albedo], "lr": rate * self.config.albedo_rate},
        ]
        if self.environment is not None:
            groups.append({"params": list(self.environment.parameters()), "lr": rate * 0.01})
        return groups

    def update(self, step: int, progress: float) -> None:
        """Renew the map of occupied voxels every 16 steps, once `prune_from` is reached."""
        if progress >= self.config.prune_from and step % 16 == 0:
            self._renew_occupancy()

    @torch.no_grad()
    def _renew_occupancy(self) -> None:
        alpha = 1 - torch.exp(-self.delta * self._activate(self.density[..., 0]))
        near = F.max_pool3d(alpha[None, None], 3, stride=1, padding=1)[0, 0]
        self.occupied.copy_(near > self.config.prune_alpha)

    @torch.no_grad()
    def take(self, other: VoxelVolume) -> None:
        """Start from another volume's field, interpolated to this resolution."""
        size = (self.resolution,) * 3

        def resize(grid: Tensor) -> Tensor:
            volume = F.interpolate(grid.permute(3, 0, 1, 2)[None], size, mode="trilinear", align_corners=True)
            return volume[0].permute(1, 2, 3, 0)

        self.density.copy_(resize(other.density))
        self.albedo.copy_(resize(other.albedo))
        self._renew_occupancy()

    def query(self, xyz: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, " n"], Float[Tensor, "n 3"]]:
        """Density (per unit length) and albedo (linear rgb) at points; density is 0 outside the unit ball."""
        index, weight = corners(xyz, self.resolution)
        density = self._activate(gather(self.density, index, weight)[:, 0])
        inside = xyz.norm(dim=-1) <= 1
        return density * inside, gather(self.albedo, index, weight).sigmoid()

    def normal_grid(self) -> Float[Tensor, "x y z 3"]:
        """Unit normals, minus the normalized density gradient, at the voxels (central differences)."""
        raw = self.density[None, None, ..., 0]
        padded = F.pad(raw, (1, 1, 1, 1, 1, 1), mode="replicate")[0, 0]
        gradient = torch.stack(
            [
                padded[2:, 1:-1, 1:-1] - padded[:-2, 1:-1, 1:-1],
                padded[1:-1, 2:, 1:-1] - padded[1:-1, :-2, 1:-1],
                padded[1:-1, 1:-1, 2:] - padded[1:-1, 1:-1, :-2],
            ],
            dim=-1,
        )
        return -gradient / (gradient.square().sum(-1, keepdim=True) + 1e-6).sqrt()

    def render(
        self,
        cameras: Cameras,
        size: int,
        *,
        lights: Lights | None = None,
        shading: Shading = "albedo",
        background: Float[Tensor, "b 3 #h #w"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Render:
        origin, direction = cameras.rays(size, size)
        b, rays = len(cameras), len(cameras) * size * size
        flat = direction.reshape(rays, 3)
        source = origin.repeat_interleave(size * size, 0)
        ray, depth, xyz = self.visible(source, flat, generator)
        index, weight = corners(xyz, self.resolution)
        delta = torch.full_like(depth, self.delta)
        with torch.no_grad():
            first = self._activate(gather(self.density.detach(), index, weight)[:, 0])
            seen = weights_packed(first, delta, ray, rays)[1] > 1e-3
        ray, depth, xyz, delta, index, weight = (t[seen] for t in (ray, depth, xyz, delta, index, weight))
        density = self._activate(gather(self.density, index, weight)[:, 0])
        w, _ = weights_packed(density, delta, ray, rays)

        facing = normal = None
        if shading != "albedo":
            normal = F.normalize(gather(self.normal_grid(), index, weight), dim=-1, eps=1e-4)
            facing = (normal * flat[ray]).sum(-1)
        colour = self._colour(shading, index, weight, normal, xyz, lights, ray // (size * size))
        columns = [colour, torch.ones_like(depth)[:, None], depth[:, None]] + ([] if normal is None else [normal])
        total = sum_packed(w[:, None] * torch.cat(columns, -1), ray, rays)
        image = total.view(b, size, size, -1).permute(0, 3, 1, 2)
        rgb, opacity = image[:, :3], image[:, 3:4]
        if background is None and self.environment is not None:
            background = self.environment(direction)
        if background is not None:
            rgb = rgb + (1 - opacity) * background
        return Render(
            rgb=rgb,
            opacity=opacity,
            depth=image[:, 4:5] / opacity.clamp_min(1e-6) * (opacity > 1e-3),
            normal=image[:, 5:8] if normal is not None else None,
            samples=Samples(w, ray, rays, facing),
        )

    def _activate(self, raw: Tensor) -> Tensor:
        return self.config.density_scale * F.softplus(raw)

    def _colour(
        self, shading: Shading, index: Tensor, weight: Tensor, normal: Tensor | None, xyz: Tensor,
        lights: Lights | None, view: Tensor,
    ) -> Tensor:  # fmt: skip
        """Colour of each sample under the chosen shading."""
        if shading == "normal":
            assert normal is not None
            return (normal + 1) / 2
        albedo = gather(self.albedo, index, weight).sigmoid()
        if shading == "albedo":
            return albedo
        if lights is None:
            raise bad("lights", expected=f"lights for {shading!r} shading", got=None)
        assert normal is not None
        toward = F.normalize(lights.position[view] - xyz, dim=-1)
        ambient = lights.ambient[view]
        shade = ambient + (1 - ambient) * (normal * toward).sum(-1).clamp_min(0)
        return shade[:, None] * (torch.ones_like(albedo) if shading == "textureless" else albedo)

    @torch.no_grad()
    def visible(
        self, origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"], generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Samples in occupied voxels inside the unit ball: ray (sorted), distance, position."""
        n = self.resolution
        nearest = -(origin * direction).sum(-1)
        reach = 1 - (origin + nearest[:, None] * direction).square().sum(-1)
        ray = torch.nonzero(reach > 0)[:, 0]
        half = reach[ray].sqrt()
        count = int(torch.ceil(2 * half.max() / self.delta)) if len(ray) else 0
        jitter = 0.5 if generator is None else torch.rand(len(ray), 1, generator=generator).to(origin)
        t = (torch.arange(count, device=origin.device) + jitter) * self.delta
        inside = t < 2 * half[:, None]
        t = t + (nearest[ray] - half)[:, None]
        inside &= t > 0
        start, heading = (origin[ray] + 1) * ((n - 1) / 2) + 0.5, direction[ray] * ((n - 1) / 2)
        voxel = torch.zeros(t.shape, dtype=torch.int32, device=t.device)
        for axis in range(3):
            place = torch.addcmul(start[:, axis : axis + 1], t, heading[:, axis : axis + 1])
            voxel = voxel * n + place.to(torch.int32).clamp_(0, n - 1)
        keep = inside & self.occupied.view(-1)[voxel]
        row, column = torch.nonzero(keep, as_tuple=True)
        ray, depth = ray[row], t[row, column]
        return ray, depth, origin[ray] + depth[:, None] * direction[ray]
