"""Furniture and what stands in a room."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..palette import INK, LIGHT, MAIN, STEEL, WOOD
from ..points import Points, carve
from .registry import Part, Proportions, toy


@toy("chair", natural="brown", split=0.0, ranges={"wide": (0.34, 0.42), "back": (0.36, 0.50)})
def chair(p: Points, v: Proportions) -> Iterator[Part]:
    wide, back = v["wide"], v["back"]
    yield MAIN, p.at(0, 0, 0.58).box(wide, wide, 0.06, 0.02)
    yield MAIN, p.mirror().mirror_x().at(wide - 0.06, wide - 0.06, 0.27).box(0.06, 0.06, 0.27, 0.01)
    yield MAIN, p.mirror().at(-wide + 0.05, wide - 0.06, 0.62 + back).box(0.06, 0.06, back, 0.01)
    yield MAIN, p.at(-wide + 0.05, 0, 0.62 + back * 1.5).box(0.05, wide, back * 0.42, 0.02)


@toy(
    "table",
    natural="brown",
    has_front=False,
    carries=lambda v: 0.675,
    band="x",
    split=0.55,
    ranges={"long": (0.60, 0.74), "wide": (0.40, 0.50)},
)
def table(p: Points, v: Proportions) -> Iterator[Part]:
    long, wide = v["long"], v["wide"]
    yield MAIN, p.at(0, 0, 0.62).box(long, wide, 0.055, 0.015)
    yield MAIN, p.at(0, 0, 0.53).box(long - 0.10, wide - 0.10, 0.05)
    yield MAIN, p.mirror().mirror_x().at(long - 0.11, wide - 0.11, 0.28).box(0.06, 0.06, 0.28, 0.01)


@toy(
    "crate",
    natural="brown",
    also=("box", "wooden box"),
    has_front=False,
    carries=lambda v: v["tall"] * 2 + 0.02,
    split=0.0,
    ranges={"wide": (0.42, 0.52), "tall": (0.30, 0.40)},
)
def crate(p: Points, v: Proportions) -> Iterator[Part]:
    wide, tall = v["wide"], v["tall"]
    q = p.at(0, 0, tall)
    yield MAIN, q.box(wide, wide, tall)
    yield MAIN, q.mirror().mirror_x().at(wide, wide, 0).box(0.07, 0.07, tall + 0.02, 0.01)
    rail = torch.maximum(q.box(wide + 0.04, wide + 0.04, tall + 0.02), -(q.z.abs() - tall + 0.10))
    yield MAIN, carve(rail, q.box(wide - 0.08, wide - 0.08, tall + 0.1))
    yield WOOD, torch.maximum(q.box(wide + 0.015, wide + 0.015, tall - 0.02), (q.z.abs() - 0.05))


@toy(
    "lamp",
    natural="yellow",
    also=("table lamp", "desk lamp"),
    has_front=False,
    small=True,
    split=0.2,
    ranges={"shade": (0.34, 0.44), "tall": (0.34, 0.46)},
)
def lamp(p: Points, v: Proportions) -> Iterator[Part]:
    neck = v["tall"] * 2 + 0.06
    yield STEEL, p.at(0, 0, 0.05).cylinder(0.27, 0.05, 0.02)
    yield STEEL, p.at(0, 0, v["tall"]).cylinder(0.045, v["tall"])
    yield INK, p.at(0, 0, 0.24).ellipsoid(0.13, 0.13, 0.16)
    shade = p.at(0, 0, neck + 0.22).cone(v["shade"], 0.19, 0.26)
    yield MAIN, carve(shade, p.at(0, 0, neck + 0.20).cone(v["shade"] - 0.05, 0.13, 0.28))
    yield LIGHT, p.at(0, 0, neck + 0.14).sphere(0.13)
