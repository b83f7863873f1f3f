"""Ground truth of any caption: pictures from any camera, signed distance, occupancy, normals and a mesh."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from skimage.measure import marching_cubes
from torch import Tensor

from ..core.cameras import Cameras
from ..core.lights import Lights
from .grammar import parse
from .render import paint, render_layers
from .solid import Solid, build, slot_colours
from .spec import Spec


class Truth:
    """The typical toy of a spec or caption, in the unit ball, front +x."""

    def __init__(self, what: Spec | str) -> None:
        self.spec = parse(what).spec if isinstance(what, str) else what
        self.solid: Solid = build([self.spec])

    def picture(
        self,
        cameras: Cameras,
        lights: Lights,
        size: int = 64,
        background: Float[Tensor, "b 3 #h #w"] | None = None,
        *,
        supersample: int = 2,
        textureless: bool = False,
    ) -> Float[Tensor, "b 3 h w"]:
        """Shaded pictures, or their shapes without colour; the background is light grey unless given.

        `size` is a multiple of 4.
        """
        n = len(cameras)
        solid = build([self.spec] * n)
        layers = render_layers(solid, cameras, lights, size, supersample, textureless=textureless)
        backdrop = torch.full((n, 3, 1, 1), 0.85) if background is None else background
        colours = slot_colours([self.spec] * n)
        return paint(layers, torch.ones_like(colours) if textureless else colours, backdrop)

    def distance(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, " n"]:
        """Signed distance (a bound where the solid's is), negative inside."""
        return self.solid.distance(xyz[None])[0]

    def occupied(self, xyz: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Whether points lie inside."""
        return self.distance(xyz) < 0

    def normal(self, xyz: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
        """Outward unit normals near the surface."""
        return self.solid.normal(xyz[None])[0]

    def mesh(self, resolution: int = 96) -> tuple[Float[np.ndarray, "v 3"], Int[np.ndarray, "f 3"]]:
        """Vertices and outward faces of the surface."""
        axis = torch.linspace(-1, 1, resolution)
        points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
        grid = torch.cat([self.distance(part) for part in points.split(131_072)]).view((resolution,) * 3).numpy()
        vertices, faces, _, _ = marching_cubes(grid, 0.0, gradient_direction="descent")
        return (vertices * (2 / (resolution - 1)) - 1).astype(np.float32), faces.astype(np.int32)
