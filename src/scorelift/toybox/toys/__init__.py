"""The kinds of toy. Importing this package fills `KINDS`."""

from . import animals, buildings, food, furniture, plants, things, vehicles
from .registry import KINDS, Head, Kind, Part, Proportions

__all__ = ["KINDS", "Head", "Kind", "Part", "Proportions"]

_ = (animals, buildings, food, furniture, plants, things, vehicles)
