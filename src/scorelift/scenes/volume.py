"""A volume scene: a field integrated along rays, lit by a point light, before a background.

Ref: DreamFusion Sec. 3.1: the background is seen behind the accumulated opacity.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..core.cameras import Cameras
from ..core.lights import Lights, Shading, check_lights
from .background import Environment
from .base import Render, Scene
from .fields import Field, Rays
from .network import NetworkField
from .voxels import VoxelField


class Volume(Scene):
    """A field, and optionally a learned background."""

    def __init__(self, field: Field, environment: nn.Module | None = None, environment_rate: float = 0.01) -> None:
        super().__init__()
        self.field, self.environment, self.environment_rate = field, environment, environment_rate

    @property
    def latent(self) -> bool:
        """Whether a prior's own space is rendered in place of colours."""
        return isinstance(self.field, VoxelField) and self.field.config.latent > 0

    @property
    def reach(self) -> float:
        return self.field.reach

    def gridded(self, resolution: int = 128) -> Volume:
        """Itself; of a small network field, its values on a grid, before whatever background is given.

        A field whose samples are less than half a voxel apart stays as it is: the grid would blur it.
        """
        field = self.field
        if not isinstance(field, NetworkField) or field.extent > 1 or field.detail * resolution < 1:
            return self
        return Volume(field.voxels(resolution))

    @torch.no_grad()
    def look_by(self, look: Float[Tensor, "c1 3"]) -> None:
        """Tell a scene of latents the linear map from them (and 1) to rgb."""
        assert isinstance(self.field, VoxelField)
        self.field.look.copy_(look)

    def coloured(self) -> Volume:
        """Itself; of a scene of latents, the same in colours, for people and meshes."""
        if not (isinstance(self.field, VoxelField) and self.latent):
            return self
        sky = self.environment.coloured(self.field.look) if isinstance(self.environment, Environment) else None
        return Volume(self.field.coloured(), sky, self.environment_rate)

    def groups(self, rate: float) -> list[dict]:
        groups = self.field.groups(rate)
        if self.environment is not None:
            groups.append({"params": list(self.environment.parameters()), "lr": rate * self.environment_rate})
        return groups

    def roughness(self) -> Float[Tensor, ""]:
        return self.field.roughness()

    def update(self, step: int, progress: float) -> None:
        self.field.update(step, progress)

    def render(
        self,
        cameras: Cameras,
        size: int,
        *,
        lights: Lights | None = None,
        shading: Shading = "albedo",
        background: Float[Tensor, "b 3 #h #w"] | None = None,
        jitter: Float[Tensor, "b h w"] | None = None,
    ) -> Render:
        check_lights(lights, shading)
        origin, direction = cameras.rays(size, size)
        b, pixels = len(cameras), size * size
        flat = direction.reshape(b * pixels, 3)

        def each(value: Tensor) -> Tensor:
            return value.repeat_interleave(pixels, 0)

        rays = Rays(
            each(origin),
            flat,
            torch.full_like(flat[:, 0], 0.5) if jitter is None else jitter.reshape(b * pixels),
            None if lights is None else each(lights.position),
            None if lights is None else each(lights.ambient),
        )
        sums = self.field.integrate(rays, shading)

        def picture(values: Tensor) -> Tensor:
            return values.view(b, size, size, -1).permute(0, 3, 1, 2)

        rgb, opacity, depth = picture(sums.colour), picture(sums.opacity), picture(sums.depth)
        if background is None and self.environment is not None:
            background = self.environment(direction)
        if background is not None:
            rgb = rgb + (1 - opacity) * background
        return Render(
            rgb=rgb,
            opacity=opacity,
            depth=depth / opacity.clamp_min(1e-6) * (opacity > 1e-3),
            normal=None if sums.normal is None else picture(sums.normal),
            fog=picture(sums.fog),
            turned=None if sums.turned is None else picture(sums.turned),
        )
