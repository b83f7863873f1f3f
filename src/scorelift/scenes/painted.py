"""Surfaces of triangles, painted by a field: what scenes that are drawn by the rasterizer have in common."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.cameras import Cameras
from ..core.lights import Lights, Shading, check_lights
from ..kernels.raster import Fragments, project, rasterize
from ..kernels.silhouettes import antialias
from .base import Render, Scene
from .fields import Field
from .mesh_losses import vertex_normals


class Painted(Scene):
    """Points and faces, wherever they come from, and the field whose albedo they take."""

    def __init__(self, paint: Field, environment: nn.Module | None) -> None:
        super().__init__()
        self.paint, self.environment = paint, environment

    @abstractmethod
    def surface(self) -> tuple[Float[Tensor, "p 3"], Int[Tensor, "f 3"]]:
        """Points and faces of the surface."""

    def update(self, step: int, progress: float) -> None:
        self.paint.update(step, 1.0)

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
        points, faces = self.surface()
        screen = project(points, cameras, size)
        seen = rasterize(screen, faces, size)
        view = seen.pixel // size**2
        xyz = seen.interpolate(points, faces)
        normal = F.normalize(seen.interpolate(vertex_normals(points, faces), faces), dim=-1, eps=1e-4)
        colour = self._colour(xyz, normal, view, lights, shading)
        away = (xyz - cameras.position[view]).norm(dim=-1, keepdim=True)
        layers = torch.cat([colour, torch.ones_like(away), away, normal], -1)
        rgb, opacity, depth, normals = self._picture(layers, screen, faces, seen, size).split((3, 1, 1, 3), 1)
        if background is None and self.environment is not None:
            background = self.environment(cameras.rays(size, size)[1])
        if background is not None:
            rgb = rgb + (1 - opacity) * background
        depth = depth / opacity.clamp_min(1e-6) * (opacity > 1e-3)
        return Render(rgb=rgb, opacity=opacity, depth=depth, normal=normals, surface=(points, faces))

    def _colour(
        self, xyz: Tensor, normal: Tensor, view: Tensor, lights: Lights | None, shading: Shading
    ) -> Float[Tensor, "n 3"]:
        if shading == "normal":
            return (normal + 1) / 2
        # The surface moves through its paint: where a colour stands tells nothing of where the surface should be.
        if shading == "albedo" or lights is None:
            return self.paint.at(xyz.detach()).albedo()
        toward = F.normalize(lights.position[view] - xyz, dim=-1)
        ambient = lights.ambient[view]
        shade = (ambient + (1 - ambient) * (normal * toward).sum(-1).clamp_min(0))[:, None]
        return shade.expand(-1, 3) if shading == "textureless" else shade * self.paint.at(xyz.detach()).albedo()

    @staticmethod
    def _picture(layers: Tensor, screen: Tensor, faces: Tensor, seen: Fragments, size: int) -> Float[Tensor, "b c h w"]:
        """Layers of fragments as pictures with soft silhouettes."""
        image = layers.new_zeros(len(screen) * size * size, layers.shape[1]).index_copy(0, seen.pixel, layers)
        image = image.view(len(screen), size, size, -1).permute(0, 3, 1, 2)
        return antialias(image, screen, faces, seen)
