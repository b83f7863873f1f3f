"""A surface in a lattice of tetrahedra, painted by a field: what a volume becomes when it is refined.

Ref: Shen et al., "Deep marching tetrahedra" (2021); as scenes of text-to-3-D: Magic3D (Lin et al. 2023), Sec. 4.2,
Fantasia3D (Chen et al. 2023), DreamFlow (Lee et al. 2024), Sec. 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..core.errors import EmptySceneError, check_choice, check_positive
from ..kernels.marching_tetrahedra import between, crossings
from .fields import Field
from .hashgrid import HashConfig
from .mlp import MLPConfig
from .painted import Painted
from .tetrahedra import boundary_vertices, tetrahedral_grid
from .voxels import VoxelConfig


@dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """A surface in [-1, 1]^3."""

    resolution: int = 64
    "Cubes of the lattice along an edge; each is cut into twelve tetrahedra."
    paint: HashConfig | VoxelConfig | MLPConfig = HashConfig()
    "The field whose albedo, and whose background, the surface takes."
    tuned: Literal["geometry", "texture", "both"] = "geometry"
    "What is optimized; the rest stays as it is."
    paint_rate: float = 1.0
    "Learning rate of the paint, relative to the geometry's."
    flow: float = 0.5
    "How far a vertex of the lattice may move, in cubes."

    def __post_init__(self) -> None:
        check_choice("tuned", self.tuned, ("geometry", "texture", "both"))
        for name in ("resolution", "paint_rate", "flow"):
            check_positive(name, getattr(self, name))


def empty_mesh() -> EmptySceneError:
    """The error of a mesh that has vanished."""
    return EmptySceneError(
        "mesh: no surface is left. Try a lower learning rate of the mesh stage, a lower first noise level, or another "
        "--seed. The earlier stage's checkpoint and asset are kept."
    )


BAND = 1.5
"Cubes on either side of the surface in which it may move before the band about it is drawn again."


class Mesh(Painted):
    """Signed distances and offsets on a lattice, and the field that paints the surface where they are 0."""

    lattice: Tensor
    tetrahedra: Tensor
    rim: Tensor

    def __init__(
        self, config: MeshConfig, paint: Field, environment: nn.Module | None, environment_rate: float
    ) -> None:
        super().__init__(paint, environment)
        self.config, self.environment_rate = config, environment_rate
        lattice, tetrahedra = tetrahedral_grid(config.resolution)
        self.register_buffer("lattice", lattice, persistent=False)
        self.register_buffer("tetrahedra", tetrahedra, persistent=False)
        self.register_buffer("rim", boundary_vertices(config.resolution), persistent=False)
        self.distance = nn.Parameter(lattice.norm(dim=-1) - 0.5)
        self.offset = nn.Parameter(torch.zeros_like(lattice))
        for part in (self.distance, self.offset):
            part.requires_grad_(config.tuned != "texture")
        self.paint.requires_grad_(config.tuned != "geometry")
        if environment is not None:
            environment.requires_grad_(config.tuned != "geometry")
        self._kept: tuple[tuple[int, int], tuple[Tensor, Tensor]] | None = None
        self._band: tuple[Tensor, Tensor, Tensor] | None = None

    def groups(self, rate: float) -> list[dict]:
        groups = []
        if self.config.tuned != "texture":
            groups.append({"params": [self.distance, self.offset], "lr": rate})
        if self.config.tuned != "geometry":
            groups += self.paint.groups(rate * self.config.paint_rate)
            if self.environment is not None:
                groups.append({"params": list(self.environment.parameters()), "lr": rate * self.environment_rate})
        return groups

    @torch.no_grad()
    def take(self, other: Mesh) -> None:
        """Start from another mesh on the same lattice."""
        self.distance.copy_(other.distance)
        self.offset.copy_(other.offset)

    def surface(self) -> tuple[Float[Tensor, "p 3"], Int[Tensor, "f 3"]]:
        """Points and faces of the surface; differentiable. A frozen surface is kept until it is changed.

        Raises:
            EmptySceneError: if there is none.
        """
        version = self.distance._version, self.offset._version
        if self._kept is not None and self._kept[0] == version and self._kept[1][0].device == self.lattice.device:
            return self._kept[1]
        # A closed surface: the lattice's rim is outside whatever the distances are.
        inside = (self.distance.detach() < 0) & ~self.rim
        ends, faces = crossings(inside, self._near(inside))
        used = ends.reshape(-1)  # few of the lattice's vertices
        distance, rim = self.distance.index_select(0, used), self.rim.index_select(0, used)
        distance = torch.where(rim, distance.abs().clamp_min(1e-3), distance)
        step = 2 / self.config.resolution * self.config.flow
        places = self.lattice.index_select(0, used) + step * self.offset.index_select(0, used).tanh()
        points = between(places.view(2, -1, 3), distance.view(2, -1))
        if len(faces) == 0:
            raise empty_mesh()
        found = points, faces.long()
        self._kept = None if self.distance.requires_grad else (version, found)
        return found

    @torch.no_grad()
    def _near(self, inside: Bool[Tensor, " v"]) -> Int[Tensor, "t 4"]:
        """Tetrahedra in a band about the surface, among which are all it crosses.

        The band is drawn again when a vertex outside of it has changed its sign.
        """
        if self._band is not None and self._band[0].device == inside.device:
            near, far, signs = self._band
            if not (far & (inside != signs)).any():
                return near
        far = self.distance.abs() > BAND * 2 / self.config.resolution
        corners = self.tetrahedra.reshape(-1)
        within = inside.index_select(0, corners).view(-1, 4)
        crossed = within.any(1) & ~within.all(1)  # distances may be steep, so that both ends of an edge are far
        near = self.tetrahedra[crossed | ~far.index_select(0, corners).view(-1, 4).all(1)]
        self._band = near, far, inside
        return near
