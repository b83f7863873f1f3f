"""A mesh that a user brings, painted by a field: its shape stays as it is.

Ref: Latent-NeRF (Metzer et al. 2023), Section 3.3, "Latent-Paint": score distillation of a given mesh's texture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.errors import bad, check_range
from .fields import Field
from .given import Given, read_given
from .hashgrid import HashConfig
from .mlp import MLPConfig
from .painted import Painted
from .voxels import VoxelConfig


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """A mesh of a file, in [-1, 1]^3."""

    mesh: str | None = None
    "The file: GLB, OBJ, PLY, STL or OFF, +y up and front +z, as exports are. Its own colours are not read."
    radius: float | None = 0.8
    "It is centred, and scaled to reach so far from the origin; None: it is taken as it is."
    paint: HashConfig | VoxelConfig | MLPConfig = HashConfig()
    "The field whose albedo the surface takes."

    def __post_init__(self) -> None:
        if self.radius is not None:
            check_range("radius", self.radius, 0.05, 1.0)

    def read(self) -> Given:
        """The file's mesh.

        Raises:
            ScoreliftError: if there is none, or it cannot be used.
        """
        if self.mesh is None:
            raise bad("mesh", expected="a mesh to paint", got="none",
                      remedy='Name one: `scorelift paint MESH "PROMPT"`.')  # fmt: skip
        return read_given(self.mesh, "scene.mesh", radius=self.radius)


class Model(Painted):
    """Points and faces that stay, and their paint."""

    points: Tensor
    faces: Tensor
    placement: Tensor
    "How it lay in its file: scale, then centre. A place there is scale * point + centre."

    def __init__(self, config: ModelConfig, paint: Field, given: Given | None) -> None:
        """`given`: the mesh; None for a scene that is about to be loaded, with its mesh."""
        super().__init__(paint, None)
        self.config = config
        if given is None:
            given = Given(np.zeros((0, 3)), np.zeros((0, 3), np.int64), 1.0, np.zeros(3))
        self.register_buffer("points", torch.as_tensor(given.vertices).float())
        self.register_buffer("faces", torch.as_tensor(given.faces).long())
        self.register_buffer("placement", torch.tensor([given.scale, *given.centre.tolist()]))

    def groups(self, rate: float) -> list[dict]:
        return self.paint.groups(rate)

    def surface(self) -> tuple[Float[Tensor, "p 3"], Int[Tensor, "f 3"]]:
        """Points and faces of the file, in the scene's axes."""
        return self.points, self.faces

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """With the mesh of the state, whatever its size."""
        for name in ("points", "faces"):
            if name in state_dict:
                setattr(self, name, torch.empty_like(state_dict[name], device=self.points.device))
        return super().load_state_dict(state_dict, strict, assign)
