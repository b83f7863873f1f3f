"""What grows."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from ..palette import CLAY, INK, LEAF, LIGHT, MAIN, PAPER, WOOD
from ..points import Points, blend, carve
from .registry import Part, Proportions, toy


@toy("tree", natural="green", has_front=False, split=0.1, ranges={"trunk": (0.20, 0.30), "crown": (0.46, 0.56)})
def tree(p: Points, v: Proportions) -> Iterator[Part]:
    low = v["trunk"] * 2
    yield WOOD, p.at(0, 0, v["trunk"] + 0.1).cone(0.13, 0.09, v["trunk"] + 0.1)
    leaves = p.at(0, 0, low + 0.42).sphere(v["crown"] * 0.86)
    ring = p.repeat_around(5).at(v["crown"] * 0.55, 0, low + 0.30).sphere(0.27)
    leaves = blend(leaves, ring, 0.08)
    yield MAIN, blend(leaves, p.at(0, 0, low + 0.86).sphere(0.28), 0.08)


@toy(
    "cactus",
    natural="green",
    also=("potted cactus", "cactus in a pot"),
    has_front=False,
    symmetric=False,
    small=True,
    split=0.2,
    ranges={"tall": (0.42, 0.52), "fat": (0.15, 0.19)},
)
def cactus(p: Points, v: Proportions) -> Iterator[Part]:
    yield CLAY, p.at(0, 0, 0.20).cone(0.22, 0.31, 0.20)
    yield CLAY, p.at(0, 0, 0.38).cylinder(0.35, 0.06, 0.02)
    yield MAIN, p.at(0, 0, 0.46).capsule(0.0, 0.0, v["tall"] * 1.9, v["fat"])
    yield MAIN, torch.minimum(p.at(0, 0.10, 0.78).capsule(0.0, 0.28, 0.02, 0.09),
                              p.at(0, 0.38, 0.80).capsule(0.0, 0.0, 0.32, 0.09))  # fmt: skip
    yield MAIN, torch.minimum(p.at(0, -0.10, 0.96).capsule(0.0, -0.25, 0.02, 0.085),
                              p.at(0, -0.35, 0.98).capsule(0.0, 0.0, 0.22, 0.085))  # fmt: skip


@toy(
    "mushroom",
    natural="red",
    also=("toadstool",),
    has_front=False,
    small=True,
    split=0.45,
    ranges={"cap": (0.48, 0.60), "stem": (0.15, 0.20)},
)
def mushroom(p: Points, v: Proportions) -> Iterator[Part]:
    cap = p.at(0, 0, 0.62)
    yield MAIN, torch.maximum(cap.ellipsoid(v["cap"], v["cap"], 0.42), -cap.z)
    yield PAPER, p.at(0, 0, 0.60).cylinder(v["cap"] * 0.93, 0.025)
    yield PAPER, p.at(0, 0, 0.32).cone(v["stem"] + 0.07, v["stem"], 0.32)


@toy(
    "flower",
    natural="red",
    also=("daisy", "sunflower"),
    small=True,
    split=0.0,
    ranges={"petal": (0.17, 0.22), "stem": (0.34, 0.44)},
)
def flower(p: Points, v: Proportions) -> Iterator[Part]:
    q = p.at(0.06, 0, v["stem"] * 2 + 0.12)
    face = q.along_x()
    yield LEAF, p.at(0, 0, v["stem"] + 0.05).cylinder(0.04, v["stem"] + 0.05)
    yield LEAF, p.mirror().at(0, 0.18, 0.34).lean(48).ellipsoid(0.05, 0.09, 0.24)
    yield MAIN, face.repeat_around(7).at(0.30, 0, 0).ellipsoid(v["petal"], v["petal"] * 0.72, 0.055)
    yield LIGHT, q.at(0.03, 0, 0).ellipsoid(0.09, 0.18, 0.18)
    yield INK, q.mirror().at(0.115, 0.06, 0.04).sphere(0.028)


@toy(
    "pumpkin",
    natural="orange",
    also=("jack o'lantern", "halloween pumpkin"),
    small=True,
    split=0.0,
    band="z",
    ranges={"fat": (0.46, 0.56), "tall": (0.34, 0.42)},
)
def pumpkin(p: Points, v: Proportions) -> Iterator[Part]:
    fat, tall = v["fat"], v["tall"]
    slice_ = p.at(0, 0, tall).repeat_around(8).at(fat * 0.45, 0, 0)
    yield MAIN, slice_.ellipsoid(fat * 0.55, fat * 0.36, tall)
    yield LEAF, p.at(0, 0, tall * 2 + 0.02).tilt(12).cone(0.09, 0.055, 0.15)
    near = p.at(0, 0, tall).ellipsoid(fat + 0.02, fat + 0.02, tall + 0.02)
    front = torch.maximum(near, 0.1 - p.x)
    eye = p.mirror().at(fat * 0.8, fat * 0.36, tall * 1.16).gable(0.4, 0.13, 0.22)
    yield INK, torch.maximum(front, eye)
    mouth = p.at(fat * 0.8, 0, tall * 0.70)
    teeth = mouth.mirror().at(0, 0.10, 0.07).box(0.4, 0.04, 0.05)
    yield INK, torch.maximum(front, carve(mouth.box(0.4, fat * 0.52, 0.075), teeth))
