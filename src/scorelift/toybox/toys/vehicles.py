"""Things that drive, sail and fly."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..palette import BEAK, BLUSH, GLASS, INK, LIGHT, MAIN, PAPER, RUBBER, STEEL, WOOD
from ..points import Points, Size, carve, common
from .registry import Part, Proportions, toy


def _wheels(p: Points, x: Size, y: Size, r: float, width: float = 0.07) -> Iterator[Part]:
    wheel = p.mirror().mirror_x().at(x, y, r).along_y()
    yield RUBBER, wheel.cylinder(r, width, 0.02)
    yield STEEL, wheel.cylinder(r * 0.5, width + 0.015)


@toy(
    "car",
    natural="red",
    also=("toy car", "automobile"),
    band="x",
    split=-0.05,
    ranges={"long": (0.66, 0.78), "cab": (0.18, 0.25)},
)
def car(p: Points, v: Proportions) -> Iterator[Part]:
    m, long = p.mirror(), v["long"]
    yield MAIN, p.at(0, 0, 0.32).box(long, 0.36, 0.16, 0.08)
    yield MAIN, p.at(-0.12, 0, 0.46 + v["cab"]).box(0.34, 0.30, v["cab"], 0.10)
    yield GLASS, p.at(-0.12, 0, 0.46 + v["cab"]).box(0.36, 0.24, v["cab"] * 0.62, 0.03)
    yield GLASS, p.at(-0.12, 0, 0.46 + v["cab"]).box(0.24, 0.32, v["cab"] * 0.60, 0.03)
    yield LIGHT, m.at(long - 0.01, 0.23, 0.35).ellipsoid(0.05, 0.08, 0.07)
    yield BLUSH, m.at(-long + 0.01, 0.24, 0.36).box(0.03, 0.07, 0.05)
    yield INK, p.at(long - 0.01, 0, 0.30).box(0.025, 0.11, 0.05)
    yield STEEL, p.mirror_x().at(long - 0.02, 0, 0.18).box(0.05, 0.34, 0.035)
    yield from _wheels(p, long * 0.58, 0.33, 0.18)


@toy(
    "truck",
    natural="blue",
    also=("lorry", "pickup truck"),
    band="x",
    split=-0.05,
    ranges={"bed": (0.42, 0.52), "cab": (0.24, 0.30)},
)
def truck(p: Points, v: Proportions) -> Iterator[Part]:
    m = p.mirror()
    yield STEEL, p.at(-0.05, 0, 0.26).box(0.80, 0.30, 0.06)
    yield MAIN, p.at(0.52, 0, 0.34 + v["cab"]).box(0.25, 0.36, v["cab"] + 0.04, 0.06)
    yield GLASS, p.at(0.60, 0, 0.46 + v["cab"]).box(0.19, 0.29, v["cab"] * 0.40, 0.02)
    yield GLASS, p.at(0.54, 0, 0.46 + v["cab"]).box(0.14, 0.375, v["cab"] * 0.36, 0.02)
    outer = p.at(-0.34, 0, 0.52).box(v["bed"], 0.37, 0.22, 0.02)
    yield WOOD, carve(outer, p.at(-0.34, 0, 0.62).box(v["bed"] - 0.07, 0.30, 0.22))
    yield LIGHT, m.at(0.77, 0.24, 0.34).sphere(0.065)
    yield INK, p.at(0.77, 0, 0.40).box(0.02, 0.13, 0.07)
    yield from _wheels(p, 0.50, 0.33, 0.20)


@toy(
    "train",
    natural="red",
    also=("train engine", "steam engine", "locomotive"),
    band="x",
    split=0.0,
    ranges={"long": (0.40, 0.48), "chimney": (0.14, 0.24)},
)
def train(p: Points, v: Proportions) -> Iterator[Part]:
    m, nose = p.mirror(), v["long"] + 0.28
    yield INK, p.at(0, 0, 0.24).box(0.78, 0.28, 0.07, 0.02)
    yield MAIN, p.at(0.22, 0, 0.52).along_x().cylinder(0.26, v["long"], 0.03)
    yield STEEL, p.at(nose - 0.06, 0, 0.52).along_x().cylinder(0.20, 0.05, 0.02)
    yield MAIN, p.at(-0.46, 0, 0.64).box(0.26, 0.33, 0.36, 0.03)
    yield INK, p.at(-0.46, 0, 1.03).box(0.33, 0.39, 0.04, 0.03)
    yield GLASS, p.at(-0.46, 0, 0.78).box(0.15, 0.345, 0.12)
    yield INK, p.at(0.42, 0, 0.80 + v["chimney"]).cone(0.075, 0.13, v["chimney"])
    yield BEAK, p.at(0.08, 0, 0.80).ellipsoid(0.11, 0.11, 0.12)
    yield LIGHT, p.at(nose - 0.02, 0, 0.60).sphere(0.075)
    yield BLUSH, p.at(0.80, 0, 0.14).tilt(-25).box(0.07, 0.28, 0.13, 0.01)
    wheel = m.at(-0.46, 0.30, 0.20).along_y()
    yield RUBBER, wheel.cylinder(0.20, 0.05)
    small = torch.minimum(m.at(0.06, 0.30, 0.15).along_y().cylinder(0.15, 0.05),
                          m.at(0.44, 0.30, 0.15).along_y().cylinder(0.15, 0.05))  # fmt: skip
    yield RUBBER, small
    yield BLUSH, wheel.cylinder(0.10, 0.06)


@toy(
    "boat",
    natural="white",
    also=("sailboat", "sailing boat"),
    small=True,
    band="z",
    split=-0.5,
    ranges={"long": (0.62, 0.74), "mast": (0.50, 0.60)},
)
def boat(p: Points, v: Proportions) -> Iterator[Part]:
    hull = common(p.at(0, 0, 0.34).ellipsoid(v["long"], 0.32, 0.34), p.at(0, 0, 0.10).box(1, 1, 0.22))
    bow = common(p.at(v["long"] - 0.16, 0, 0.26).tilt(70).cone(0.20, 0.02, 0.20), p.at(0, 0, 0.1).box(1.2, 1, 0.22))
    yield MAIN, torch.minimum(carve(hull, p.at(0, 0, 0.42).ellipsoid(v["long"] * 0.84, 0.24, 0.26)), bow)
    yield WOOD, p.at(0, 0, 0.26).box(v["long"] * 0.70, 0.22, 0.03)
    yield WOOD, p.at(0.05, 0, 0.25 + v["mast"]).cylinder(0.032, v["mast"])
    h = v["mast"] - 0.06
    main = p.at(0.0, 0, 0.42)
    sail = torch.maximum((main.z * 0.55 - main.x * h * 2 - h * 1.1) / (h * 2.2), torch.maximum(main.x, -main.z))
    yield PAPER, torch.maximum(torch.maximum(sail, main.z - 2 * h), main.y.abs() - 0.022)
    jib = p.at(0.12, 0, 0.42)
    front = torch.maximum((jib.z * 0.42 + jib.x * h * 1.5 - h * 0.63) / (h * 1.6), torch.maximum(-jib.x, -jib.z))
    yield BLUSH, torch.maximum(front, jib.y.abs() - 0.022)
    yield BLUSH, p.at(-0.08, 0, 0.30 + 2 * v["mast"]).box(0.10, 0.015, 0.06)


@toy(
    "rocket",
    natural="white",
    also=("rocket ship", "spaceship"),
    small=True,
    split=0.0,
    band="z",
    ranges={"fat": (0.22, 0.28), "tall": (0.58, 0.70)},
)
def rocket(p: Points, v: Proportions) -> Iterator[Part]:
    mid = v["tall"] + 0.22
    body = p.at(0, 0, mid)
    yield MAIN, torch.maximum(body.ellipsoid(v["fat"], v["fat"], v["tall"] * 1.15), -body.z - v["tall"] * 0.86)
    yield BLUSH, torch.maximum(p.at(0, 0, mid).ellipsoid(v["fat"] + 0.012, v["fat"] + 0.012, v["tall"] * 1.17),
                               -body.z + v["tall"] * 0.62)  # fmt: skip
    fin = p.repeat_around(4).at(v["fat"] + 0.06, 0, 0.32)
    yield BLUSH, common(fin.tilt(-18).box(0.17, 0.035, 0.26, 0.01), p.at(0, 0, 0.45).box(2, 2, 0.45))
    yield STEEL, p.at(0, 0, 0.26).cone(0.20, 0.13, 0.10)
    yield LIGHT, p.at(0, 0, 0.10).ellipsoid(0.12, 0.12, 0.16)
    window = p.at(v["fat"] * 0.93, 0, mid + 0.16).along_x()
    yield STEEL, window.cylinder(0.135, 0.04)
    yield GLASS, window.cylinder(0.095, 0.055)


@toy(
    "aeroplane",
    natural="white",
    also=("airplane", "plane"),
    band="x",
    split=0.0,
    ranges={"span": (0.66, 0.80), "fat": (0.15, 0.19)},
)
def aeroplane(p: Points, v: Proportions) -> Iterator[Part]:
    q = p.at(0, 0, 0.45)
    m = q.mirror()
    yield MAIN, q.ellipsoid(0.78, v["fat"], v["fat"])
    yield MAIN, m.at(0.08, v["span"] * 0.5, -0.02).spin(-8).box(0.17, v["span"] * 0.5, 0.035, 0.02)
    yield MAIN, m.at(-0.62, 0.18, 0.06).spin(-8).box(0.10, 0.20, 0.025, 0.01)
    yield MAIN, q.at(-0.65, 0, 0.22).tilt(-20).box(0.11, 0.03, 0.20, 0.01)
    yield GLASS, q.at(0.34, 0, 0.11).ellipsoid(0.20, 0.11, 0.12)
    yield STEEL, q.at(0.78, 0, 0).along_x().cone(0.08, 0.03, 0.06)
    yield INK, torch.minimum(q.at(0.80, 0, 0).box(0.02, 0.03, 0.27, 0.01), q.at(0.80, 0, 0).box(0.02, 0.27, 0.03, 0.01))
    yield RUBBER, m.at(0.20, 0.22, -0.26).along_y().cylinder(0.09, 0.04, 0.01)
    yield STEEL, m.at(0.20, 0.14, -0.08).capsule(0.0, 0.08, -0.18, 0.022)
    yield PAPER, m.at(0.02, v["fat"] * 0.9, 0.05).sphere(0.045)
    yield PAPER, m.at(-0.18, v["fat"] * 0.86, 0.05).sphere(0.045)
