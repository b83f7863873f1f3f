"""What toys can wear: each accessory is a few parts placed on a wearer's head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from .palette import LIGHT, PAPER
from .points import Points, Size
from .toys import Head, Part

Dress = Callable[[Points, Head, int], Iterator[Part]]


@dataclass(frozen=True)
class Accessory:
    """One accessory: its parts given the wearer's head and a slot, and the colour it has when none is named."""

    name: str
    dress: Dress
    default_colour: str
    also: tuple[str, ...] = ()
    on_head: bool = False
    "Whether it takes the place on top of the head (one such at a time)."


def _crown_height(head: Head) -> Size:
    return head.z + (head.r if head.top is None else head.top)


def top_hat(p: Points, head: Head, slot: int) -> Iterator[Part]:
    q = p.at(head.x, 0, _crown_height(head) - 0.05)
    yield slot, q.cylinder(0.30, 0.03, 0.01)
    yield slot, q.at(0, 0, 0.22).cone(0.185, 0.205, 0.20)
    yield PAPER, q.at(0, 0, 0.075).cylinder(0.20, 0.035)


def party_hat(p: Points, head: Head, slot: int) -> Iterator[Part]:
    q = p.at(head.x, 0, _crown_height(head) + 0.18)
    yield slot, q.cone(0.20, 0.01, 0.24)
    yield PAPER, q.at(0, 0, 0.25).sphere(0.07)
    yield LIGHT, q.at(0, 0, -0.20).torus(0.185, 0.035)


def small_crown(p: Points, head: Head, slot: int) -> Iterator[Part]:
    q = p.at(head.x, 0, _crown_height(head) + 0.02)
    yield slot, torch.maximum(q.cylinder(0.215, 0.09), -q.cylinder(0.165, 0.2))
    yield slot, q.repeat_around(5).at(0.19, 0, 0.16).cone(0.085, 0.015, 0.10)


def scarf(p: Points, head: Head, slot: int) -> Iterator[Part]:
    q = p.at(head.neck_x, 0, head.neck_z)
    yield slot, q.scaled(1.0).torus(head.neck_r + 0.01, 0.085)
    tail = q.at(head.neck_r + 0.07, head.neck_r * 0.45, -0.20)
    yield slot, tail.tilt(-12).box(0.035, 0.085, 0.22, 0.03)


def glasses(p: Points, head: Head, slot: int) -> Iterator[Part]:
    q = p.at(head.x + head.r * 0.99, 0, head.z + head.eye_z)
    lens = q.mirror().at(0.02, head.eye_y + 0.03, 0).along_x()
    yield slot, lens.torus(0.115, 0.03)
    yield slot, q.at(0.03, -0.05, 0).capsule(0.0, 0.10, 0.0, 0.025)
    yield slot, q.mirror().at(0, head.eye_y + 0.13, 0.02).capsule(-0.26, 0.06, 0.02, 0.025)


def bow_tie(p: Points, head: Head, slot: int) -> Iterator[Part]:
    q = p.at(head.neck_x + head.neck_r + 0.09, 0, head.neck_z - 0.02)
    yield slot, q.mirror().at(0, 0.12, 0).along_y().cone(0.02, 0.13, 0.11)
    yield slot, q.sphere(0.06)


ACCESSORIES: dict[str, Accessory] = {
    a.name: a
    for a in (
        Accessory("top hat", top_hat, "black", on_head=True),
        Accessory("party hat", party_hat, "pink", on_head=True),
        Accessory("crown", small_crown, "yellow", on_head=True),
        Accessory("scarf", scarf, "red"),
        Accessory("glasses", glasses, "black", also=("spectacles", "eyeglasses")),
        Accessory("bow tie", bow_tie, "red", also=("bowtie",)),
    )
}
