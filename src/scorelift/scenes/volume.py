"""A volume scene: a field integrated along rays, lit by a point light, before a background.

Ref: DreamFusion Sec. 3.1: Eq. 5 (quadrature), Eq. 7 (diffuse shading), normals from the density's gradient, the
background behind the accumulated opacity.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..core.cameras import Cameras
from ..core.errors import bad
from ..core.lights import Lights, Shading
from ..kernels.composite import sum_packed, weights_packed
from .base import Render, Samples, Scene
from .fields import Field, March


class Volume(Scene):
    """A field, and optionally a learned background."""

    def __init__(self, field: Field, environment: nn.Module | None = None, environment_rate: float = 0.01) -> None:
        super().__init__()
        self.field, self.environment, self.environment_rate = field, environment, environment_rate

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
        if lights is None and shading in ("shaded", "textureless"):
            raise bad("lights", expected=f"lights for {shading!r} shading", got=None)
        origin, direction = cameras.rays(size, size)
        b, rays = len(cameras), len(cameras) * size * size
        flat = direction.reshape(rays, 3)
        offset = torch.full_like(flat[:, 0], 0.5) if jitter is None else jitter.reshape(rays)
        march = self.field.march(origin.repeat_interleave(size * size, 0), flat, offset)
        weight, _ = weights_packed(march.lookup.density(), march.delta, march.ray, rays)

        facing = normal = None
        if shading != "albedo":
            normal = march.lookup.normal()
            facing = (normal * flat[march.ray]).sum(-1)
        colour = _colour(march, shading, normal, lights, march.ray // (size * size))
        columns = [colour, torch.ones_like(march.depth)[:, None], march.depth[:, None]]
        columns += [] if normal is None else [normal]
        total = sum_packed(weight[:, None] * torch.cat(columns, -1), march.ray, rays)
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
            samples=Samples(weight, march.ray, rays, facing),
        )


def _colour(
    march: March, shading: Shading, normal: Tensor | None, lights: Lights | None, view: Tensor
) -> Float[Tensor, "n 3"]:
    """Colour of each sample under the chosen shading; `view` tells each sample's light."""
    if normal is None:
        return march.lookup.albedo()
    if shading == "normal":
        return (normal + 1) / 2
    assert lights is not None
    toward = torch.nn.functional.normalize(lights.position[view] - march.xyz, dim=-1)
    ambient = lights.ambient[view]
    shade = (ambient + (1 - ambient) * (normal * toward).sum(-1).clamp_min(0))[:, None]
    return shade.expand(-1, 3) if shading == "textureless" else shade * march.lookup.albedo()
