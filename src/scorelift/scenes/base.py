"""What every scene is: parameters that can be rendered from cameras under lights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..core.cameras import Cameras
from ..core.errors import ScoreliftError
from ..core.lights import Lights, Shading
from ..core.precision import check_not_half


@dataclass(frozen=True)
class Render:
    """Pictures of a scene. `rgb` is composited on the background; the others are the object's alone."""

    rgb: Float[Tensor, "b c h w"]
    opacity: Float[Tensor, "b 1 h w"]
    depth: Float[Tensor, "b 1 h w"] | None = None
    "Expected distance along the ray, over opaque parts; 0 where nothing is hit."
    normal: Float[Tensor, "b 3 h w"] | None = None
    "Expected world normal, of length at most the opacity."
    fog: Float[Tensor, "b 1 h w"] | None = None
    "Sum of log(1 + 10 w) over the samples of weight w along the ray."
    turned: Float[Tensor, "b 1 h w"] | None = None
    "Sum of w max(0, n . v)^2, how much of what is seen faces away from the camera; w without gradient."
    surface: tuple[Float[Tensor, "p 3"], Int[Tensor, "f 3"]] | None = None
    "Points and faces of what was drawn, for scenes that are surfaces."


class Single(nn.Module):
    """A module that computes in single precision, or double, and refuses to be made half."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        check_not_half("precision", fn(torch.zeros(())).dtype)
        return super()._apply(fn, recurse)


class Scene(Single, ABC):
    """Parameters theta and their rendering."""

    @property
    def latent(self) -> bool:
        """Whether a prior's own space is rendered in place of colours."""
        return False

    @property
    def reach(self) -> float:
        """Distance from the origin beyond which there is nothing to see: of a box, its corners'."""
        return math.sqrt(3)

    def gridded(self) -> Scene:
        """The scene as is quickest to look at often, from many sides."""
        return self

    def coloured(self) -> Scene:
        """The scene as people see it."""
        return self

    @abstractmethod
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
        """Render one picture a camera.

        Args:
            size: height and width in pixels.
            lights: needed by "shaded" and "textureless".
            background: linear rgb behind the object; None: the scene's own.
            jitter: of the samples along each ray, in [0, 1) of their spacing; None: their midpoints.
        """

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return next(self.parameters()).device

    @torch.no_grad()
    def photograph(
        self,
        cameras: Cameras,
        size: int,
        *,
        lights: Lights | None = None,
        shading: Shading = "albedo",
        background: Float[Tensor, "b 3 #h #w"] | None = None,
    ) -> Render:
        """A render for people: pictures on the CPU, as its arguments are, wherever the scene is; without gradients."""
        there = self.device
        render = self.render(
            cameras.to(there), size, lights=None if lights is None else lights.to(there), shading=shading,
            background=None if background is None else background.to(there),
        )  # fmt: skip
        pictures: dict[str, Any] = {
            name: value.cpu() for name, value in vars(render).items() if isinstance(value, Tensor)
        }
        return Render(**pictures)

    @abstractmethod
    def groups(self, rate: float) -> list[dict]:
        """Every parameter, in optimizer groups with learning rates relative to `rate`."""

    def roughness(self) -> Float[Tensor, ""]:
        """How much neighbouring places of the scene differ, for scenes that know their neighbours.

        Raises:
            ScoreliftError: for the others.
        """
        raise ScoreliftError(f"roughness: a {type(self).__name__} has no such penalty; leave its weight at 0.")

    def heed(self) -> None:
        """Called when a step's gradient is there, before the optimizer follows it."""

    def update(self, step: int, progress: float) -> None:
        """Called before each step, with the stage's progress in [0, 1]: occupancy, annealing."""
