"""Beings that are no animals, and dress like them."""

from __future__ import annotations

from collections.abc import Iterator

from ..palette import BEAK, BLUSH, INK, MAIN, PAPER, STEEL, WOOD
from ..points import Points
from .registry import Head, Part, Proportions, toy


@toy(
    "snowman",
    natural="white",
    small=True,
    split=0.0,
    ranges={"base": (0.38, 0.46), "head": (0.21, 0.26)},
    head=lambda v: Head(
        x=0, z=v["base"] * 2 + 0.62, r=v["head"], neck_z=v["base"] * 2 + 0.42, neck_r=0.18, eye_z=0.06, eye_y=0.09
    ),
)
def snowman(p: Points, v: Proportions) -> Iterator[Part]:
    m, mid = p.mirror(), v["base"] * 2 + 0.2
    top = mid + 0.42
    yield MAIN, p.at(0, 0, v["base"] - 0.04).sphere(v["base"])
    yield MAIN, p.at(0, 0, mid).sphere(0.30)
    yield MAIN, p.at(0, 0, top).sphere(v["head"])
    yield BEAK, p.at(v["head"] + 0.10, 0, top).along_x().cone(0.055, 0.008, 0.15)
    yield INK, m.at(v["head"] - 0.03, 0.09, top + 0.07).sphere(0.036)
    yield INK, p.at(0.285, 0, mid + 0.09).sphere(0.036)
    yield INK, p.at(0.285, 0, mid - 0.09).sphere(0.036)
    yield WOOD, m.at(0, 0.26, mid + 0.06).capsule(0.04, 0.34, 0.16, 0.025)
    yield WOOD, m.at(0.03, 0.50, mid + 0.16).capsule(0.04, 0.04, 0.14, 0.02)


@toy(
    "robot",
    natural="grey",
    small=True,
    split=0.0,
    ranges={"wide": (0.26, 0.34), "tall": (0.26, 0.34)},
    head=lambda v: Head(
        x=0, z=v["tall"] * 2 + 0.68, r=0.24, neck_z=v["tall"] * 2 + 0.42, neck_r=0.14, eye_z=0.05, eye_y=0.1, top=0.21
    ),
)
def robot(p: Points, v: Proportions) -> Iterator[Part]:
    m, waist, top = p.mirror(), v["tall"] + 0.36, v["tall"] * 2 + 0.68
    yield MAIN, p.at(0, 0, waist).box(0.20, v["wide"], v["tall"], 0.03)
    yield MAIN, p.at(0, 0, top).box(0.21, 0.25, 0.20, 0.04)
    yield STEEL, p.at(0, 0, top - 0.24).cylinder(0.09, 0.08)
    yield STEEL, p.at(0.19, 0, waist + 0.06).box(0.03, v["wide"] * 0.62, v["tall"] * 0.45, 0.01)
    yield BLUSH, m.at(0.22, 0.07, waist + 0.08).sphere(0.05)
    yield PAPER, m.at(0.20, 0.10, top + 0.05).sphere(0.08)
    yield INK, m.at(0.265, 0.10, top + 0.05).sphere(0.038)
    yield INK, p.at(0.20, 0, top - 0.11).box(0.025, 0.12, 0.025)
    yield STEEL, p.at(0, 0, top + 0.30).cylinder(0.022, 0.12)
    yield BEAK, p.at(0, 0, top + 0.43).sphere(0.06)
    yield STEEL, m.at(0, v["wide"] + 0.10, waist - 0.02).box(0.08, 0.08, v["tall"] * 0.95, 0.03)
    yield MAIN, m.at(0.02, v["wide"] + 0.10, waist - v["tall"] - 0.06).sphere(0.11)
    yield STEEL, m.at(0, 0.14, 0.24).box(0.10, 0.09, 0.20, 0.02)
    yield MAIN, m.at(0.07, 0.14, 0.06).box(0.18, 0.11, 0.07, 0.03)
