"""What a kind of toy is, and the table of them all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True)
class Kind:
    """One kind of toy: its name, the ranges of its proportions, and how its parts are measured."""

    name: str
    parts: Callable[[Points, Proportions], Iterator[Part]]
    ranges: Mapping[str, tuple[float, float]]
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


@dataclass(frozen=True)
class toy:  # noqa: N801 - reads as a decorator
    """Decorator that enters a function `(points, proportions) -> parts` into `KINDS`."""

    name: str
    also: tuple[str, ...] = ()
    head: Callable[[Proportions], Head] | None = None
    has_front: bool = True
    symmetric: bool = True
    band: str = "z"
    split: float = 0.0
    carries: Callable[[Proportions], Size] | None = None
    small: bool = False
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __call__(self, parts: Callable[[Points, Proportions], Iterator[Part]]):
        KINDS[self.name] = Kind(
            self.name, parts, self.ranges, self.also, self.head, self.has_front, self.symmetric, self.band,
            self.split, self.carries, self.small,
        )  # fmt: skip
        return parts
