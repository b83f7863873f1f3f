"""Things of the kitchen, the stage and the treasury."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..palette import BLUSH, CHERRY, INK, LIGHT, MAIN, MEAT, PAPER, WOOD
from ..points import Points, blend, carve, common
from .registry import Part, Proportions, toy


@toy(
    "mug",
    natural="white",
    also=("cup", "coffee mug"),
    symmetric=False,
    small=True,
    split=0.0,
    ranges={"r": (0.38, 0.46), "tall": (0.42, 0.52)},
)
def mug(p: Points, v: Proportions) -> Iterator[Part]:
    q = p.at(0, 0, v["tall"])
    cup = carve(q.cylinder(v["r"], v["tall"], 0.03), q.at(0, 0, 0.08).cylinder(v["r"] - 0.06, v["tall"]))
    handle = common(q.at(0, v["r"] + 0.06, 0).along_x().torus(0.22, 0.065), -(q.rho() - v["r"] + 0.03))
    yield MAIN, torch.minimum(cup, handle)
    yield MEAT, q.at(0, 0, v["tall"] * 0.62).cylinder(v["r"] - 0.055, 0.01)


@toy(
    "teapot",
    natural="white",
    also=("tea pot", "kettle"),
    small=True,
    split=0.0,
    ranges={"r": (0.42, 0.50), "tall": (0.34, 0.40)},
)
def teapot(p: Points, v: Proportions) -> Iterator[Part]:
    q = p.at(0, 0, v["tall"] + 0.02)
    spout = q.at(v["r"] * 0.72, 0, -0.10).capsule(0.26, 0.0, 0.20, 0.09)
    tip = q.at(v["r"] * 0.72 + 0.26, 0, 0.10).capsule(0.12, 0.0, 0.22, 0.065)
    yield MAIN, blend(q.ellipsoid(v["r"], v["r"], v["tall"]), blend(spout, tip, 0.05), 0.06)
    yield (
        MAIN,
        common(q.at(-v["r"] - 0.04, 0, 0.02).along_y().torus(0.22, 0.055), -q.ellipsoid(v["r"], v["r"], v["tall"])),
    )
    yield MAIN, q.at(0, 0, v["tall"] - 0.02).ellipsoid(0.24, 0.24, 0.08)
    yield INK, q.at(0, 0, v["tall"] + 0.11).sphere(0.085)
    yield MAIN, p.at(0, 0, 0.04).cylinder(0.26, 0.04, 0.01)


@toy("guitar", natural="brown", split=0.0, ranges={"low": (0.34, 0.40), "neck": (0.32, 0.40)})
def guitar(p: Points, v: Proportions) -> Iterator[Part]:
    low = p.at(0, 0, 0.38).along_x().cylinder(v["low"], 0.11, 0.03)
    up = p.at(0, 0, 0.82).along_x().cylinder(0.27, 0.11, 0.03)
    yield MAIN, blend(low, up, 0.14)
    yield INK, p.at(0.105, 0, 0.64).along_x().cylinder(0.12, 0.02)
    yield INK, p.at(0.11, 0, 0.28).box(0.03, 0.16, 0.03)
    top = 1.02 + v["neck"] * 2
    yield WOOD, p.at(0.11, 0, 0.98 + v["neck"]).box(0.04, 0.065, v["neck"] + 0.14)
    yield MEAT, p.at(0.09, 0, top + 0.08).box(0.05, 0.12, 0.15, 0.02)
    yield PAPER, p.mirror().at(0.09, 0.15, top + 0.06).sphere(0.035)
    yield PAPER, p.mirror().at(0.09, 0.15, top + 0.16).sphere(0.035)
    yield PAPER, p.mirror().at(0.155, 0.025, 0.80 + v["neck"]).box(0.008, 0.012, 0.52 + v["neck"])


@toy(
    "crown", natural="yellow", has_front=True, small=True, split=-0.2, ranges={"r": (0.44, 0.52), "tall": (0.20, 0.28)}
)
def crown(p: Points, v: Proportions) -> Iterator[Part]:
    q, r = p.at(0, 0, 0.22), v["r"]
    ring = carve(q.cylinder(r, 0.20, 0.02), q.cylinder(r - 0.06, 0.5))
    spike = p.repeat_around(6).at(r - 0.03, 0, 0.38 + v["tall"])
    yield MAIN, ring
    yield MAIN, spike.cone(0.15, 0.02, v["tall"])
    yield LIGHT, p.repeat_around(6).at(r - 0.03, 0, 0.42 + 2 * v["tall"]).sphere(0.07)
    yield CHERRY, p.at(r, 0, 0.22).ellipsoid(0.07, 0.12, 0.13)
    yield BLUSH, p.mirror().at(r * 0.5, r * 0.866, 0.22).sphere(0.07)
