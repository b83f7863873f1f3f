"""Things to eat."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..palette import BUN, CHERRY, LEAF, LIGHT, MAIN, MEAT, PAPER, TAN, WOOD
from ..points import Points, blend
from .registry import Part, Proportions, toy


@toy(
    "donut",
    natural="pink",
    also=("doughnut",),
    has_front=False,
    band="x",
    split=0.0,
    ranges={"r": (0.42, 0.48), "fat": (0.20, 0.25)},
)
def donut(p: Points, v: Proportions) -> Iterator[Part]:
    q = p.at(0, 0, v["fat"])
    yield BUN, q.torus(v["r"], v["fat"])
    icing = q.at(0, 0, 0.02).torus(v["r"], v["fat"] + 0.012)
    yield MAIN, torch.maximum(icing, -q.z + 0.03 * torch.cos(6 * torch.atan2(q.y, q.x)))


@toy(
    "cake",
    natural="pink",
    also=("birthday cake",),
    has_front=False,
    small=True,
    split=0.1,
    ranges={"r": (0.48, 0.58), "tall": (0.22, 0.28)},
)
def cake(p: Points, v: Proportions) -> Iterator[Part]:
    low = v["tall"] * 2
    yield PAPER, p.at(0, 0, 0.02).cylinder(v["r"] + 0.12, 0.025)
    yield MAIN, p.at(0, 0, v["tall"]).cylinder(v["r"], v["tall"], 0.04)
    yield MAIN, p.at(0, 0, low + 0.15).cylinder(v["r"] * 0.62, 0.17, 0.04)
    yield PAPER, p.at(0, 0, low).torus(v["r"] - 0.03, 0.06)
    yield PAPER, p.at(0, 0, low + 0.32).torus(v["r"] * 0.62 - 0.03, 0.05)
    yield TAN, p.repeat_around(5).at(0.19, 0, low + 0.42).cylinder(0.032, 0.13)
    yield LIGHT, p.repeat_around(5).at(0.19, 0, low + 0.60).ellipsoid(0.04, 0.04, 0.075)


@toy(
    "ice cream",
    natural="pink",
    also=("ice cream cone",),
    has_front=False,
    small=True,
    split=0.55,
    ranges={"scoop": (0.30, 0.36), "cone": (0.40, 0.48)},
)
def ice_cream(p: Points, v: Proportions) -> Iterator[Part]:
    rim = v["cone"] * 2
    yield BUN, p.at(0, 0, v["cone"]).cone(0.03, 0.27, v["cone"])
    yield MAIN, p.at(0, 0, rim + 0.14).sphere(v["scoop"])
    yield MAIN, p.at(0, 0, rim + 0.02).torus(0.25, 0.09)
    yield MAIN, p.at(0, 0, rim + 0.50).sphere(0.22)
    yield CHERRY, p.at(0, 0, rim + 0.77).sphere(0.09)


@toy(
    "burger",
    natural="brown",
    also=("hamburger", "cheeseburger"),
    has_front=False,
    small=True,
    split=0.3,
    ranges={"r": (0.50, 0.58), "bun": (0.28, 0.36)},
)
def burger(p: Points, v: Proportions) -> Iterator[Part]:
    top = p.at(0, 0, 0.52)
    yield MAIN, torch.maximum(top.ellipsoid(v["r"], v["r"], v["bun"]), -top.z)
    yield MAIN, p.at(0, 0, 0.11).cylinder(v["r"], 0.11, 0.06)
    yield MEAT, p.at(0, 0, 0.30).cylinder(v["r"] + 0.02, 0.08, 0.05)
    wave = 0.03 * torch.cos(9 * torch.atan2(p.y, p.x))
    yield LEAF, p.at(0, 0, 0.48 + wave).cylinder(v["r"] + 0.07, 0.025, 0.01) * 0.8
    yield LIGHT, p.at(0, 0, 0.41).box(v["r"] * 0.82, v["r"] * 0.82, 0.03)
    yield CHERRY, p.at(0, 0, 0.225).cylinder(v["r"] + 0.03, 0.022)


@toy("apple", natural="red", has_front=False, small=True, split=0.0, ranges={"r": (0.24, 0.29), "tall": (1.0, 1.16)})
def apple(p: Points, v: Proportions) -> Iterator[Part]:
    q = p.at(0, 0, 0.46 * v["tall"])
    shoulder = q.at(0, 0, 0.07).torus(v["r"], 0.33)
    yield MAIN, blend(shoulder, q.at(0, 0, -0.16).ellipsoid(v["r"] + 0.17, v["r"] + 0.17, 0.30 * v["tall"]), 0.18)
    yield WOOD, q.at(0, 0, 0.22).tilt(14).capsule(0.0, 0.0, 0.42, 0.035)
    yield LEAF, q.at(0.18, 0, 0.52).tilt(58).ellipsoid(0.06, 0.11, 0.19)
