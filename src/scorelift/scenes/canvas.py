"""Two-dimensional scenes: free pixels, a mirrored image, a small coordinate network. Cameras do not matter to them.

Colours are sigmoids of the parameters. A guided score points out of the range of colours; pixels that follow it there
leave what the prior was trained on, and never come back.

Ref: DreamFusion Fig. 2 (differentiable image parameterizations, the mirror among them); SJC Sec. 4.1.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..core.cameras import Cameras
from ..core.errors import bad, check_at_least, check_choice
from ..core.lights import Lights, Shading
from .base import Render, Scene

Kind = Literal["pixels", "mirror", "mlp"]


@dataclass(frozen=True, kw_only=True)
class CanvasConfig:
    """A picture to optimize."""

    kind: Kind = "pixels"
    "Free pixels; pixels whose right half mirrors the left; a network from coordinates to colours."
    generator: str | None = None
    """In place of these, a generator of one's own: module:function. Called with the number of pictures, the function
    gives the generator and the codes to begin with."""
    resolution: int = 64
    "Of the pixels."
    width: int = 128
    "Of the network."
    pictures: int = 1
    "Independent pictures, optimized side by side."

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, get_args(Kind))
        if self.generator is not None and self.kind != "pixels":
            raise bad("kind", expected="none beside a generator", got=self.kind)
        for name in ("resolution", "width", "pictures"):
            check_at_least(name, getattr(self, name))


class Flat(Scene):
    """Pictures without a third dimension; `render` returns picture i for camera i."""

    resolution: int
    "Of the pictures as they are."

    @abstractmethod
    def picture(self, size: int) -> Float[Tensor, "n 3 size size"]:
        """The pictures, linear rgb."""

    @torch.no_grad()
    def render_all(self, size: int) -> Float[Tensor, "3 size wide"]:
        """The pictures side by side."""
        return torch.cat(list(self.picture(size)), -1)

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
        rgb = self.picture(size)
        return Render(rgb=rgb, opacity=torch.ones_like(rgb[:, :1]))


def resized(image: Float[Tensor, "n 3 h w"], size: int) -> Float[Tensor, "n 3 size size"]:
    """Pictures at another size."""
    if size == image.shape[-1]:
        return image
    return nn.functional.interpolate(image, (size, size), mode="bilinear", antialias=True)


class Canvas(Flat):
    """Pictures as parameters."""

    def __init__(self, config: CanvasConfig) -> None:
        super().__init__()
        self.config, self.resolution = config, config.resolution
        n, side = config.pictures, config.resolution
        columns = side // 2 if config.kind == "mirror" else side
        self.net: nn.Module | None = None
        if config.kind == "mlp":
            self.net = _Coordinates(n, config.width)
        else:
            self.logits = nn.Parameter(0.08 * torch.randn(n, 3, side, columns))

    def groups(self, rate: float) -> list[dict]:
        return [{"params": list(self.parameters()), "lr": rate}]

    def picture(self, size: int) -> Float[Tensor, "n 3 size size"]:
        if self.net is not None:
            return self.net(size)
        image: Tensor = self.logits.sigmoid()
        if self.config.kind == "mirror":
            image = torch.cat([image, image.flip(-1)], -1)
        return resized(image, size)


class _Coordinates(nn.Module):
    """One sine-featured network a picture."""

    waves: Tensor

    def __init__(self, pictures: int, width: int) -> None:
        super().__init__()
        self.register_buffer("waves", torch.randn(pictures, 2, width // 2) * 6)
        self.first = nn.Parameter(torch.randn(pictures, width, width) / math.sqrt(width))
        self.last = nn.Parameter(torch.randn(pictures, width, 3) / math.sqrt(width))

    def forward(self, size: int) -> Tensor:
        axis = (torch.arange(size, device=self.first.device) + 0.5) / size * 2 - 1
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
        angle = place @ self.waves
        hidden = nn.functional.silu(torch.cat([angle.sin(), angle.cos()], -1) @ self.first)
        return (hidden @ self.last).sigmoid().transpose(1, 2).reshape(-1, 3, size, size)
