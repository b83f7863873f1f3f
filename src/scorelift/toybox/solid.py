"""Specs of one structure compiled into a solid: signed distances and paint slots in the unit ball.

Toys are written standing on z = 0 at any size; a `Solid` moves and scales them so that the typical one fills the ball
of radius `RADIUS` around the origin. Distances are in these normalized units.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.errors import bad
from .accessories import ACCESSORIES
from .palette import ACCENT, ACCENT2, MAIN, SECOND, fixed_rgb, rgb
from .points import Points
from .spec import FINISHES, Spec
from .toys import KINDS, Part, Proportions

RADIUS = 0.8
CARRIED_SCALE = 0.78
Structure = tuple[str, tuple[str, ...], str | None]


@dataclass(frozen=True)
class Solid:
    """A batch of toys of one structure."""

    structure: Structure
    proportions: Proportions
    finish: Int[Tensor, "b 1"]
    "Index into FINISHES."
    band_width: Float[Tensor, "b 1"]
    centre: tuple[float, float]
    "(x, z) of the typical toy's middle in its own frame."
    scale: float
    "Normalized units per unit of the toy's own frame."

    def __len__(self) -> int:
        return self.finish.shape[0]

    def own_frame(self, xyz: Float[Tensor, "b n 3"]) -> Points:
        """Normalized points in the toy's own frame."""
        return Points.of(xyz).scaled(self.scale).at(-self.centre[0], 0.0, -self.centre[1])

    def distance(self, xyz: Float[Tensor, "b n 3"]) -> Float[Tensor, "b n"]:
        """Signed distance, negative inside."""
        nearest: Tensor | None = None
        for _, d in _parts(self.structure, self.own_frame(xyz), self.proportions):
            nearest = d if nearest is None else torch.minimum(nearest, d)
        assert nearest is not None
        return nearest * self.scale

    def slot(self, xyz: Float[Tensor, "b n 3"]) -> Int[Tensor, "b n"]:
        """Paint slot of the nearest part, the finish applied."""
        p = self.own_frame(xyz)
        nearest: Tensor | None = None
        slot = torch.zeros(xyz.shape[:2], dtype=torch.long, device=xyz.device)
        for part_slot, d in _parts(self.structure, p, self.proportions):
            if nearest is None:
                nearest, slot = d, torch.full_like(slot, part_slot)
            else:
                slot = torch.where(d < nearest, part_slot, slot)
                nearest = torch.minimum(nearest, d)
        return torch.where((slot == MAIN) & self._finished(self._carried(p)), SECOND, slot)

    def normal(self, xyz: Float[Tensor, "b n 3"], step: float = 2e-3) -> Float[Tensor, "b n 3"]:
        """Outward unit normals from four distances around each point."""
        total = torch.zeros_like(xyz)
        for corner in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1)):
            offset = xyz.new_tensor(corner)
            total = total + self.distance(xyz + step * offset)[..., None] * offset
        return torch.nn.functional.normalize(total, dim=-1)

    def _carried(self, p: Points) -> Points:
        support = self.structure[2]
        return p if support is None else _on_support(p, support, self.proportions)

    def _finished(self, p: Points) -> Tensor:
        """Where the main colour gives way to the second."""
        kind = KINDS[self.structure[0]]
        along = {"x": p.x, "y": p.y, "z": p.z}[kind.band]
        striped = torch.sin(along * (torch.pi / self.band_width)) > 0
        s = self.band_width * 2.2
        place = torch.stack([p.x, p.y.abs() + 0.31 * s, p.z + 0.17 * s], -1) / s[..., None]
        cells = torch.stack([place, place + 0.5])
        spotted = ((cells - torch.round(cells)).square().sum(-1) < 0.29**2).any(0)
        low = p.z < _middle(self.structure[0]) * (1 + kind.split)
        finish = self.finish
        return ((finish == 1) & striped) | ((finish == 2) & spotted) | ((finish == 3) & low)


def _on_support(p: Points, support: str, v: Proportions) -> Points:
    carries = KINDS[support].carries
    assert carries is not None
    top = carries({name.removeprefix("support_"): value for name, value in v.items() if name.startswith("support_")})
    return p.at(0, 0, top).scaled(CARRIED_SCALE)


def _parts(structure: Structure, p: Points, v: Proportions) -> Iterator[Part]:
    """All parts of a structure: the support (painted ACCENT2), the toy, what it wears (ACCENT, then ACCENT2)."""
    name, worn, support = structure
    scale = 1.0
    if support is not None:
        below = {key.removeprefix("support_"): value for key, value in v.items() if key.startswith("support_")}
        for slot, d in KINDS[support].parts(p, below):
            yield ACCENT2 if slot == MAIN else slot, d
        p, scale = _on_support(p, support, v), CARRIED_SCALE
    kind = KINDS[name]
    for slot, d in kind.parts(p, v):
        yield slot, d * scale
    for item, slot in zip(worn, (ACCENT, ACCENT2), strict=False):
        assert kind.head is not None
        for part_slot, d in ACCESSORIES[item].dress(p, kind.head(v), slot):
            yield part_slot, d * scale


def _ranges(structure: Structure) -> dict[str, tuple[float, float]]:
    name, _, support = structure
    ranges = dict(KINDS[name].ranges)
    if support is not None:
        ranges |= {f"support_{key}": value for key, value in KINDS[support].ranges.items()}
    return ranges


def _typical(structure: Structure) -> dict[str, Tensor]:
    return {key: torch.tensor([[(low + high) / 2]]) for key, (low, high) in _ranges(structure).items()}


@lru_cache(maxsize=4096)
def _frame(structure: Structure, n: int = 40) -> tuple[float, float, float]:
    """Middle (x, z) and radius of the typical toy of a structure, from its distances on a grid."""
    axis = torch.linspace(-1.3, 1.3, n)
    up = torch.linspace(-0.1, 3.0, n + 8)
    x, y, z = torch.meshgrid(axis, axis, up, indexing="ij")
    p = Points(x.reshape(1, -1), y.reshape(1, -1), z.reshape(1, -1))
    d = torch.stack([d for _, d in _parts(structure, p, _typical(structure))]).amin(0)
    inside = d < 0.2 * float(axis[1] - axis[0])
    px, pz = p.x[inside], p.z[inside]
    cx, cz = float(px.max() + px.min()) / 2, float(pz.max() + pz.min()) / 2
    radius = float(p.at(cx, 0, cz).sphere(0.0)[inside].max())
    return cx, cz, radius


@lru_cache(maxsize=256)
def _middle(name: str) -> float:
    """Half the height of the typical toy, in its own frame."""
    return _frame((name, (), None))[1]


def build(specs: Sequence[Spec], rng: random.Random | None = None) -> Solid:
    """Compile specs of one structure; proportions are drawn with `rng`, or typical without it.

    Raises:
        ScoreliftError: if the specs are of several structures.
    """
    structures = {spec.structure for spec in specs}
    if len(structures) != 1:
        raise bad("specs", expected="specs of one structure (kind, accessories, support)", got=f"{len(structures)}")
    structure = structures.pop()
    if rng is None:
        proportions = {key: v.expand(len(specs), 1) for key, v in _typical(structure).items()}
        width = [[0.14]] * len(specs)
    else:
        draws = {key: [[rng.uniform(*r)] for _ in specs] for key, r in _ranges(structure).items()}
        proportions = {key: torch.tensor(value) for key, value in draws.items()}
        width = [[rng.uniform(0.11, 0.18)] for _ in specs]
    cx, cz, radius = _frame(structure)
    finish = torch.tensor([[FINISHES.index(spec.finish)] for spec in specs])
    return Solid(structure, proportions, finish, torch.tensor(width), (cx, cz), RADIUS / radius)


def free_colours(spec: Spec, rng: random.Random | None = None) -> Float[Tensor, "slots 3"]:
    """Colours of the four free slots; with `rng`, each slightly off the palette."""
    accents = [w.colour or ACCESSORIES[w.name].default_colour for w in spec.worn]
    if spec.support is not None:
        accents = [accents[0] if accents else "white", spec.support_colour or KINDS[spec.support].natural]
    accents += ["white"] * (2 - len(accents))
    table = torch.stack([rgb(name) for name in (spec.main_colour, spec.second_colour, *accents)])
    if rng is not None:
        table = table * (1 + torch.tensor([[rng.uniform(-0.08, 0.08)] for _ in range(4)]))
        table = table + torch.tensor([[rng.uniform(-0.025, 0.025) for _ in range(3)] for _ in range(4)])
    return table.clamp(0.02, 1)


def slot_colours(specs: Sequence[Spec], rng: random.Random | None = None) -> Float[Tensor, "b slots 3"]:
    """Colours of all slots, free and fixed, for a batch."""
    fixed = fixed_rgb()
    return torch.stack([torch.cat([free_colours(spec, rng), fixed]) for spec in specs])
