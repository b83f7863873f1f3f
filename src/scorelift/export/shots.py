"""Any view in any light: single pictures of a scene or of an exported mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.camera_samplers import FRAME, ring
from ..core.cameras import Cameras, direction
from ..core.config import check_numbers
from ..core.errors import bad, check_choice, check_positive, check_range
from ..core.lights import Lights
from ..scenes import Scene
from .texture import Asset
from .triangles import mesh_layers

Mode = Literal["albedo", "shaded", "textureless", "normal", "depth"]
MODES = ("albedo", "shaded", "textureless", "normal", "depth")


@dataclass(frozen=True, kw_only=True)
class Shot:
    """Where the camera and the light stand, and what is shown."""

    mode: Mode = "shaded"
    azimuth_deg: float = 30.0
    elevation_deg: float = 15.0
    fill: float = FRAME
    "Height of the object's ball (radius 0.8) as a fraction of the picture."
    distance: float = 3.0
    "Of the camera, from the origin."
    fov_deg: float | None = None
    "Its field of view, instead of `fill`: for a place that is seen from inside."
    light_azimuth_deg: float | None = None
    "Default: the camera's; with neither angle given, the light is above the camera's shoulder."
    light_elevation_deg: float | None = None
    "Default: 50, where the azimuth is given."
    ambient: float = 0.4
    backdrop: float = 0.88
    "Grey behind the object."
    resolution: int = 512

    def __post_init__(self) -> None:
        check_choice("mode", self.mode, MODES)
        check_numbers(self)
        check_range("elevation_deg", self.elevation_deg, -90, 90)
        check_range("light_elevation_deg", self.light_elevation_deg or 0.0, -90, 90)
        check_range("ambient", self.ambient, 0, 1)
        check_range("backdrop", self.backdrop, 0, 1)
        for name in ("fill", "distance"):
            check_positive(name, getattr(self, name))
        if self.fov_deg is not None:
            check_range("fov_deg", self.fov_deg, 1, 170)
        if self.resolution < 8:
            raise bad("resolution", expected="at least 8 pixels", got=self.resolution)

    def camera(self) -> Cameras:
        """The camera."""
        return ring(1, self.elevation_deg, self.fill, self.azimuth_deg, self.distance, fov_deg=self.fov_deg)

    def lights(self, camera: Cameras) -> Lights:
        """The light."""
        azimuth, elevation = self.light_azimuth_deg, self.light_elevation_deg
        if azimuth is None and elevation is None:
            position = camera.position + 1.2 * camera.c2w[:, :3, 1]
        else:
            azimuth = self.azimuth_deg if azimuth is None else azimuth
            position = 3.0 * direction(_one(50.0 if elevation is None else elevation), _one(azimuth))
        return Lights(position, _one(self.ambient))


def _one(value: float) -> Float[Tensor, "1"]:
    return torch.tensor([float(value)])


def shoot_scene(scene: Scene, shot: Shot) -> Float[Tensor, "3 h w"]:
    """A picture of a volume scene."""
    return scene_from(scene, shot.camera(), shot)


def shoot_mesh(asset: Asset, shot: Shot) -> Float[Tensor, "3 h w"]:
    """A picture of an exported mesh."""
    return mesh_from(asset, shot.camera(), shot)


def scene_from(scene: Scene, camera: Cameras, shot: Shot) -> Float[Tensor, "3 h w"]:
    """A picture of a volume scene from any camera, which takes the place of the shot's own."""
    shading = "albedo" if shot.mode == "depth" else shot.mode
    backdrop = torch.full((1, 3, 1, 1), shot.backdrop)
    render = scene.photograph(camera, shot.resolution, lights=shot.lights(camera), shading=shading, background=backdrop)
    if shot.mode != "depth":
        return render.rgb[0]
    if render.depth is None:
        raise bad("mode", expected="albedo: this scene has no depth", got="depth")
    return grey_depth(render.depth[0], render.opacity[0], shot.backdrop)


def mesh_from(asset: Asset, camera: Cameras, shot: Shot) -> Float[Tensor, "3 h w"]:
    """A picture of an exported mesh from any camera, which takes the place of the shot's own."""
    layers = mesh_layers(
        asset.vertices, asset.normals, asset.uv, asset.faces, asset.albedo, camera, shot.lights(camera), shot.resolution
    )
    opacity = layers["opacity"]
    if shot.mode == "depth":
        return grey_depth(layers["depth"] / opacity.clamp_min(1e-6), opacity, shot.backdrop)
    if shot.mode == "normal":
        picture = (layers["normal"] + opacity) / 2
    elif shot.mode == "textureless":
        picture = layers["shade"].expand(3, -1, -1)
    else:
        picture = layers["albedo"]
        if shot.mode == "shaded":
            picture = picture * layers["shade"] / opacity.clamp_min(1e-6)
    return picture + (1 - opacity) * shot.backdrop


def grey_depth(
    depth: Float[Tensor, "1 h w"], opacity: Float[Tensor, "1 h w"], backdrop: float
) -> Float[Tensor, "3 h w"]:
    """Depth as grey, near white and far dark, over the picture's own range."""
    solid = opacity > 0.5
    if not solid.any():
        return torch.full_like(depth, backdrop).expand(3, -1, -1)
    near, far = depth[solid].min(), depth[solid].max()
    grey = 1 - 0.8 * (depth - near) / (far - near).clamp_min(1e-6)
    return torch.where(solid, grey, backdrop).expand(3, -1, -1)
