"""Houses and their larger kin."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..palette import BLUSH, CLAY, GLASS, INK, LIGHT, MAIN, ROOF, WOOD
from ..points import Points, carve
from .registry import Part, Proportions, toy


@toy(
    "house",
    natural="white",
    also=("cottage", "little house"),
    split=0.0,
    ranges={"wide": (0.46, 0.58), "deep": (0.46, 0.56)},
)
def house(p: Points, v: Proportions) -> Iterator[Part]:
    wide, deep = v["wide"], v["deep"]
    yield MAIN, p.at(0, 0, 0.38).box(deep, wide, 0.38)
    yield MAIN, p.at(0, 0, 0.75).gable(deep, wide, 0.44)
    roof = p.at(0, 0, 0.74)
    yield ROOF, carve(roof.gable(deep + 0.09, wide + 0.14, 0.58), roof.at(0, 0, -0.09).gable(2.0, wide + 0.13, 0.54))
    yield WOOD, p.at(deep, 0, 0.22).box(0.03, 0.13, 0.22)
    yield LIGHT, p.at(deep + 0.03, 0, 0.22).sphere(0.03)
    yield GLASS, p.mirror().at(deep, wide * 0.62, 0.44).box(0.025, 0.10, 0.11)
    yield GLASS, p.at(deep, 0, 0.84).box(0.025, 0.09, 0.09)
    yield GLASS, p.mirror_x().at(0.2, 0, 0.42).box(0.12, wide + 0.025, 0.12)
    yield CLAY, p.at(-deep * 0.5, wide * 0.0, 1.22).box(0.10, 0.10, 0.22)


@toy("castle", natural="grey", also=("fortress",), split=-0.2, ranges={"wide": (0.44, 0.54), "tall": (0.34, 0.44)})
def castle(p: Points, v: Proportions) -> Iterator[Part]:
    wide, tall = v["wide"], v["tall"]
    corner = p.mirror().mirror_x().at(wide, wide, 0)
    yield MAIN, p.at(0, 0, tall * 0.8).box(wide, wide, tall * 0.8)
    teeth = torch.maximum(torch.cos(p.x * 20), torch.cos(p.y * 20)) * 0.03 + 0.02
    yield MAIN, torch.maximum(p.at(0, 0, tall * 1.6 + 0.05).box(wide, wide, 0.08), teeth)
    yield MAIN, corner.at(0, 0, tall).cylinder(0.19, tall)
    yield CLAY, corner.at(0, 0, tall * 2 + 0.18).cone(0.25, 0.01, 0.20)
    yield MAIN, p.at(-0.12, 0, tall + 0.4).cylinder(0.24, tall + 0.4)
    yield CLAY, p.at(-0.12, 0, tall * 2 + 1.0).cone(0.30, 0.01, 0.22)
    yield (
        WOOD,
        torch.minimum(p.at(wide, 0, 0.15).box(0.04, 0.15, 0.16), p.at(wide, 0, 0.30).along_x().cylinder(0.15, 0.04)),
    )
    yield GLASS, p.mirror().at(wide, 0.30, tall * 1.1).box(0.03, 0.05, 0.09)
    yield BLUSH, p.at(-0.02, 0, tall * 2 + 1.34).box(0.12, 0.015, 0.07)
    yield INK, p.at(-0.12, 0, tall * 2 + 1.28).cylinder(0.018, 0.16)
