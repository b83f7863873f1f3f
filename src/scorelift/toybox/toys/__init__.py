"""The kinds of toy. Importing this package fills `KINDS`, whose order seeds and the judge depend on."""

from . import animals, beings, buildings, food, furniture, plants, things, vehicles
from .registry import KINDS, Head, Kind, Part, Proportions

__all__ = ["KINDS", "Head", "Kind", "Part", "Proportions"]

_ = (animals, beings, buildings, food, furniture, plants, things, vehicles)
