"""What a kind of toy is, and the table of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..points import Points, Size

Part = tuple[int, Tensor]
"""(slot of `palette`, signed distance (B, N))."""
Proportions = Mapping[str, Tensor]
"""Drawn proportions of a batch of toys of one kind, (B, 1) each."""


@dataclass(frozen=True)
class Head:
    """Where a wearer's accessories sit, in the toy's own frame; every entry is a float or (B, 1)."""

    x: Size
    z: Size
    r: Size
    neck_z: Size
    neck_r: Size
    neck_x: Size = 0.0
    eye_z: Size = 0.0
    eye_y: Size = 0.12
    top: Size | None = None
    "Height of the crown of the head above its centre; None: the radius."


PartsOf = Callable[[Points, Proportions], Iterator[Part]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of toy: its name, the ranges of its proportions, and how its parts are measured."""

    name: str
    parts: PartsOf
    ranges: Mapping[str, tuple[float, float]]
    natural: str
    "The colour it has when a caption names none."
    also: tuple[str, ...] = ()
    "Synonyms a caption may use."
    head: Callable[[Proportions], Head] | None = None
    "Where accessories sit; None for kinds that wear nothing."
    has_front: bool = True
    "Whether front, back, left and right can be told apart in a picture."
    symmetric: bool = True
    "Whether the left half mirrors the right half."
    band: str = "z"
    "Axis along which stripes alternate."
    split: float = 0.0
    "Two-tone: the second colour lies below this fraction of the half height."
    carries: Callable[[Proportions], Size] | None = None
    "Height of the top that other toys can stand on; None for kinds that carry nothing."
    small: bool = False
    "Whether it can be put on a support."


KINDS: dict[str, Kind] = {}


def toy(name: str, **traits: Any) -> Callable[[PartsOf], PartsOf]:
    """Decorator that enters a function of points and proportions into `KINDS`; `traits` are the fields of `Kind`."""

    def enter(parts: PartsOf) -> PartsOf:
        KINDS[name] = Kind(name=name, parts=parts, **traits)
        return parts

    return enter
