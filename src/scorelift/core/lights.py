"""A white point light over white ambient light, as in DreamFusion Eq. 7."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import bad

Shading = Literal["albedo", "shaded", "textureless", "normal"]
"""What a render shows: the surface's own colour, lit, lit without colour, or its normals."""


@dataclass(frozen=True)
class Lights:
    """One light a view: `rgb = albedo * (ambient + (1 - ambient) * max(0, normal . toward_light))`."""

    position: Float[Tensor, "b 3"]
    ambient: Float[Tensor, " b"]

    def __len__(self) -> int:
        return self.position.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Lights:
        return Lights(self.position[index], self.ambient[index])

    def to(self, device: torch.device | str) -> Lights:
        return Lights(self.position.to(device), self.ambient.to(device))

    def shade(self, xyz: Float[Tensor, "b n 3"], normal: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n"]:
        """Fraction of the albedo that leaves each point, in [0, 1]."""
        toward = torch.nn.functional.normalize(self.position[:, None] - xyz, dim=-1)
        ambient = self.ambient[:, None]
        return ambient + (1 - ambient) * (normal * toward).sum(-1).clamp_min(0)


def check_lights(lights: Lights | None, shading: Shading) -> None:
    """Raise where there is no light for a shading that needs it."""
    if lights is None and shading in ("shaded", "textureless"):
        raise bad("lights", expected=f"lights for {shading!r} shading", got=None)
