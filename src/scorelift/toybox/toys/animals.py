"""Animals."""

from __future__ import annotations

from collections.abc import Iterator

from ..palette import BEAK, BLUSH, INK, MAIN, PAPER, TAN
from ..points import Points, blend, common
from .registry import Head, Part, Proportions, toy


@toy(
    "duck",
    natural="yellow",
    also=("rubber duck", "duckling"),
    small=True,
    split=-0.1,
    ranges={"head": (0.24, 0.30), "long": (0.46, 0.56)},
    head=lambda v: Head(x=0.3, z=0.92, r=v["head"], neck_x=0.24, neck_z=0.69, neck_r=0.17, eye_z=0.06),
)
def duck(p: Points, v: Proportions) -> Iterator[Part]:
    body = p.at(0, 0, 0.36).ellipsoid(v["long"], 0.36, 0.34)
    tail = p.at(-0.50, 0, 0.56).tilt(-35).ellipsoid(0.12, 0.14, 0.22)
    neck = p.at(0.24, 0, 0.64).sphere(0.19)
    yield MAIN, blend(blend(body, tail, 0.12), neck, 0.16)
    yield MAIN, p.at(0.3, 0, 0.92).sphere(v["head"])
    yield MAIN, p.mirror().at(-0.08, 0.34, 0.42).tilt(-70).ellipsoid(0.16, 0.09, 0.30)
    yield BEAK, p.at(0.56, 0, 0.88).ellipsoid(0.19, 0.14, 0.06)
    yield INK, p.mirror().at(0.48, 0.15, 1.0).sphere(0.05)


@toy(
    "bear",
    natural="brown",
    also=("teddy bear", "teddy"),
    small=True,
    split=0.1,
    ranges={"head": (0.32, 0.38), "fat": (0.34, 0.42)},
    head=lambda v: Head(x=0.02, z=1.05, r=v["head"], neck_z=0.74, neck_r=0.25, eye_z=0.08),
)
def bear(p: Points, v: Proportions) -> Iterator[Part]:
    m = p.mirror()
    yield MAIN, p.at(0, 0, 0.40).ellipsoid(v["fat"], v["fat"], 0.42)
    yield MAIN, p.at(0.02, 0, 1.05).sphere(v["head"])
    yield MAIN, m.at(0, 0.28, 1.34).sphere(0.14)
    yield TAN, m.at(0.09, 0.28, 1.34).sphere(0.09)
    yield MAIN, m.at(0.05, 0.30, 0.66).capsule(0.26, 0.18, -0.22, 0.115)
    yield MAIN, m.at(0.16, 0.20, 0.14).capsule(0.36, 0.12, 0.0, 0.15)
    yield TAN, m.at(0.655, 0.32, 0.14).ellipsoid(0.04, 0.10, 0.10)
    yield TAN, p.at(0.24, 0, 0.40).ellipsoid(0.17, 0.22, 0.27)
    yield TAN, p.at(0.31, 0, 0.97).ellipsoid(0.14, 0.16, 0.12)
    yield INK, p.at(0.44, 0, 1.02).ellipsoid(0.04, 0.06, 0.045)
    yield INK, m.at(0.31, 0.14, 1.14).sphere(0.045)


@toy(
    "cat",
    natural="orange",
    also=("kitten", "kitty"),
    small=True,
    split=0.0,
    ranges={"head": (0.28, 0.34), "tall": (0.42, 0.52)},
    head=lambda v: Head(
        x=0.14, z=v["tall"] + 0.62, r=v["head"], neck_x=0.06, neck_z=v["tall"] + 0.34, neck_r=0.2, eye_z=0.06
    ),
)
def cat(p: Points, v: Proportions) -> Iterator[Part]:
    m, top = p.mirror(), v["tall"] + 0.62
    yield (
        MAIN,
        blend(p.at(-0.12, 0, 0.36).ellipsoid(0.36, 0.30, 0.36), p.at(0.02, 0, v["tall"] + 0.1).sphere(0.22), 0.2),
    )
    yield MAIN, p.at(0.14, 0, top).sphere(v["head"])
    yield MAIN, m.at(0.12, 0.19, top + 0.32).lean(-14).cone(0.14, 0.015, 0.16)
    yield BLUSH, m.at(0.19, 0.19, top + 0.30).lean(-14).cone(0.075, 0.01, 0.11)
    yield MAIN, m.at(0.18, 0.13, 0.06).capsule(0.02, 0.0, 0.42, 0.085)
    yield MAIN, m.at(0.22, 0.14, 0.07).ellipsoid(0.15, 0.10, 0.07)
    tail = p.at(-0.46, 0, 0.10).capsule(-0.30, 0.0, 0.16, 0.06)
    yield MAIN, blend(tail, p.at(-0.76, 0, 0.26).capsule(0.02, 0.0, 0.52, 0.06), 0.05)
    yield PAPER, p.at(0.38, 0, top - 0.08).ellipsoid(0.09, 0.13, 0.08)
    yield BLUSH, p.at(0.47, 0, top - 0.03).sphere(0.035)
    yield INK, m.at(0.39, 0.13, top + 0.07).ellipsoid(0.04, 0.045, 0.065)


@toy(
    "rabbit",
    natural="white",
    also=("bunny", "bunny rabbit"),
    small=True,
    split=-0.1,
    ranges={"head": (0.27, 0.32), "ear": (0.28, 0.40)},
    head=lambda v: Head(x=0.12, z=0.98, r=v["head"], neck_x=0.06, neck_z=0.70, neck_r=0.22, eye_z=0.06),
)
def rabbit(p: Points, v: Proportions) -> Iterator[Part]:
    m = p.mirror()
    yield MAIN, p.at(-0.08, 0, 0.36).ellipsoid(0.40, 0.33, 0.37)
    yield MAIN, p.at(0.12, 0, 0.98).sphere(v["head"])
    yield MAIN, m.at(0.05, 0.13, 1.22 + v["ear"]).lean(8).ellipsoid(0.07, 0.10, v["ear"])
    yield BLUSH, m.at(0.10, 0.13, 1.22 + v["ear"]).lean(8).ellipsoid(0.04, 0.06, v["ear"] * 0.8)
    yield PAPER, p.at(-0.48, 0, 0.32).sphere(0.15)
    yield MAIN, m.at(0.24, 0.20, 0.09).ellipsoid(0.24, 0.12, 0.09)
    yield MAIN, m.at(0.22, 0.14, 0.42).capsule(0.10, 0.0, -0.14, 0.08)
    yield PAPER, p.at(0.36, 0, 0.90).ellipsoid(0.09, 0.14, 0.09)
    yield BLUSH, p.at(0.45, 0, 0.96).sphere(0.04)
    yield INK, m.at(0.35, 0.14, 1.06).sphere(0.05)


@toy(
    "frog",
    natural="green",
    also=("toad",),
    small=True,
    split=0.0,
    ranges={"wide": (0.46, 0.56), "eye": (0.14, 0.18)},
    head=lambda v: Head(x=0.12, z=0.58, r=0.36, neck_x=0.1, neck_z=0.34, neck_r=0.46, eye_z=0.22, eye_y=0.24, top=0.27),
)
def frog(p: Points, v: Proportions) -> Iterator[Part]:
    m = p.mirror()
    yield MAIN, p.at(-0.08, 0, 0.34).ellipsoid(0.48, v["wide"], 0.33)
    yield MAIN, p.at(0.12, 0, 0.56).ellipsoid(0.38, 0.44, 0.25)
    yield MAIN, m.at(0.18, 0.24, 0.82).sphere(v["eye"])
    yield PAPER, m.at(0.25, 0.25, 0.84).sphere(v["eye"] * 0.78)
    yield INK, m.at(0.34, 0.26, 0.85).sphere(0.065)
    yield MAIN, m.at(-0.30, 0.50, 0.20).ellipsoid(0.32, 0.15, 0.20)
    yield MAIN, m.at(0.10, 0.56, 0.05).ellipsoid(0.26, 0.13, 0.06)
    yield MAIN, m.at(0.26, 0.30, 0.30).capsule(0.16, 0.06, -0.24, 0.08)
    yield MAIN, m.at(0.48, 0.36, 0.04).ellipsoid(0.13, 0.12, 0.05)
    yield PAPER, p.at(0.22, 0, 0.24).ellipsoid(0.22, 0.32, 0.20)
    yield INK, common(p.at(0.20, 0, 0.53).ellipsoid(0.33, 0.34, 0.02), p.at(0.45, 0, 0.53).box(0.14, 0.4, 0.1))


@toy(
    "penguin",
    natural="black",
    small=True,
    split=0.0,
    ranges={"fat": (0.36, 0.44), "tall": (0.54, 0.62)},
    head=lambda v: Head(x=0.02, z=v["tall"] * 2 - 0.02, r=0.28, neck_z=v["tall"] * 2 - 0.26, neck_r=0.26, eye_z=0.06),
)
def penguin(p: Points, v: Proportions) -> Iterator[Part]:
    m, top = p.mirror(), v["tall"] * 2 - 0.02
    yield (
        MAIN,
        blend(p.at(0, 0, v["tall"]).ellipsoid(v["fat"], v["fat"], v["tall"]), p.at(0.02, 0, top).sphere(0.28), 0.1),
    )
    yield PAPER, p.at(0.12, 0, v["tall"] - 0.06).ellipsoid(v["fat"] * 0.82, v["fat"] * 0.78, v["tall"] * 0.84)
    yield PAPER, m.at(0.14, 0.10, top + 0.01).sphere(0.175)
    yield INK, m.at(0.285, 0.11, top + 0.06).sphere(0.05)
    yield BEAK, p.at(0.38, 0, top - 0.05).along_x().cone(0.085, 0.01, 0.14)
    yield MAIN, m.at(0, v["fat"] + 0.03, v["tall"] + 0.05).lean(16).ellipsoid(0.15, 0.06, 0.36)
    yield BEAK, m.at(0.16, 0.18, 0.04).ellipsoid(0.24, 0.14, 0.06)


@toy(
    "pig",
    natural="pink",
    also=("piggy", "piglet"),
    small=True,
    split=-0.1,
    band="x",
    ranges={"fat": (0.34, 0.42), "long": (0.48, 0.58)},
    head=lambda v: Head(
        x=v["long"] - 0.02, z=0.72, r=0.29, neck_x=v["long"] - 0.24, neck_z=0.58, neck_r=0.30, eye_z=0.09
    ),
)
def pig(p: Points, v: Proportions) -> Iterator[Part]:
    m, front = p.mirror(), v["long"] - 0.02
    yield MAIN, p.at(0, 0, 0.54).ellipsoid(v["long"], v["fat"], v["fat"])
    yield MAIN, p.at(front, 0, 0.72).sphere(0.29)
    yield BLUSH, p.at(front + 0.29, 0, 0.68).along_x().cylinder(0.13, 0.07, 0.02)
    yield INK, m.at(front + 0.36, 0.05, 0.68).sphere(0.028)
    yield INK, m.at(front + 0.21, 0.14, 0.83).sphere(0.045)
    yield MAIN, m.at(front - 0.04, 0.17, 0.98).tilt(25).lean(18).cone(0.12, 0.01, 0.13)
    yield MAIN, p.mirror().mirror_x().at(0.26, 0.20, 0.15).cylinder(0.10, 0.17, 0.02)
    yield INK, p.mirror().mirror_x().at(0.26, 0.20, 0.03).cylinder(0.105, 0.04)
    yield BLUSH, p.at(-v["long"] - 0.05, 0, 0.64).along_y().torus(0.08, 0.03)


@toy(
    "elephant",
    natural="grey",
    small=True,
    split=-0.1,
    ranges={"fat": (0.36, 0.42), "ear": (0.26, 0.34)},
    head=lambda v: Head(x=0.44, z=0.86, r=0.29, neck_x=0.26, neck_z=0.72, neck_r=0.30, eye_z=0.07),
)
def elephant(p: Points, v: Proportions) -> Iterator[Part]:
    m = p.mirror()
    yield MAIN, p.at(-0.08, 0, 0.66).ellipsoid(0.50, v["fat"], v["fat"])
    yield MAIN, p.at(0.44, 0, 0.86).sphere(0.29)
    yield MAIN, m.at(0.34, 0.36, 0.88).spin(-25).ellipsoid(0.05, v["ear"], v["ear"] * 1.1)
    yield BLUSH, m.at(0.39, 0.37, 0.88).spin(-25).ellipsoid(0.03, v["ear"] * 0.72, v["ear"] * 0.8)
    trunk = p.at(0.68, 0, 0.78).capsule(0.16, 0.0, -0.40, 0.095)
    yield MAIN, blend(trunk, p.at(0.84, 0, 0.38).capsule(0.18, 0.0, -0.02, 0.08), 0.06)
    yield PAPER, m.at(0.64, 0.16, 0.68).capsule(0.24, 0.02, -0.06, 0.035)
    yield INK, m.at(0.66, 0.16, 0.95).sphere(0.045)
    yield MAIN, p.at(-0.08, 0, 0).mirror().mirror_x().at(0.30, 0.20, 0.24).cylinder(0.13, 0.24, 0.02)
    yield PAPER, p.at(-0.08, 0, 0).mirror().mirror_x().at(0.39, 0.20, 0.05).ellipsoid(0.06, 0.10, 0.05)
    yield MAIN, p.at(-0.56, 0, 0.72).capsule(-0.14, 0.0, -0.28, 0.03)


@toy(
    "fish",
    natural="orange",
    also=("goldfish",),
    small=True,
    split=0.0,
    band="x",
    ranges={"long": (0.52, 0.62), "tall": (0.32, 0.42)},
)
def fish(p: Points, v: Proportions) -> Iterator[Part]:
    q = p.at(0, 0, 0.5)
    m = q.mirror()
    yield MAIN, q.ellipsoid(v["long"], 0.21, v["tall"])
    fin = q.at(-v["long"] - 0.16, 0, 0)
    yield MAIN, common(fin.ellipsoid(0.30, 0.05, 0.42), fin.at(-0.08, 0, 0).box(0.26, 0.1, 0.5))
    yield BEAK, common(q.at(-0.05, 0, v["tall"]).ellipsoid(0.30, 0.04, 0.20), q.at(0, 0, 0.5).box(1, 1, 0.3))
    yield BEAK, m.at(0.08, 0.20, -0.10).lean(35).tilt(-40).ellipsoid(0.08, 0.03, 0.18)
    yield PAPER, m.at(v["long"] * 0.62, 0.13, 0.10).sphere(0.085)
    yield INK, m.at(v["long"] * 0.65, 0.19, 0.11).sphere(0.05)
    yield BLUSH, q.at(v["long"], 0, -0.06).ellipsoid(0.05, 0.07, 0.04)
