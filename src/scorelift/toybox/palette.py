"""Colours of the closed world, linear rgb in [0, 1]: the ones a caption can name, and the fixed ones of parts."""

from __future__ import annotations

import torch
from torch import Tensor

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.08, 0.08),
    "orange": (0.98, 0.50, 0.05),
    "yellow": (0.98, 0.85, 0.10),
    "green": (0.12, 0.60, 0.15),
    "turquoise": (0.15, 0.80, 0.78),
    "blue": (0.10, 0.22, 0.85),
    "purple": (0.50, 0.14, 0.72),
    "pink": (0.98, 0.50, 0.72),
    "brown": (0.42, 0.22, 0.09),
    "black": (0.06, 0.06, 0.07),
    "grey": (0.48, 0.49, 0.51),
    "white": (0.95, 0.95, 0.94),
}
COLOUR_NAMES = tuple(COLOURS)

# Slots a part of a toy can be painted with. The first four follow the caption; the others never change.
MAIN, SECOND, ACCENT, ACCENT2 = range(4)
FREE_SLOTS = 4
_FIXED: dict[str, tuple[float, float, float]] = {
    "INK": (0.04, 0.04, 0.05),
    "PAPER": (0.96, 0.95, 0.92),
    "BEAK": (0.98, 0.55, 0.08),
    "WOOD": (0.45, 0.26, 0.12),
    "TAN": (0.86, 0.70, 0.50),
    "GLASS": (0.45, 0.70, 0.90),
    "STEEL": (0.62, 0.64, 0.67),
    "RUBBER": (0.12, 0.12, 0.13),
    "LEAF": (0.16, 0.52, 0.16),
    "BLUSH": (0.95, 0.55, 0.58),
    "LIGHT": (1.00, 0.90, 0.45),
    "CLAY": (0.72, 0.36, 0.20),
    "ROOF": (0.36, 0.17, 0.13),
    "CHERRY": (0.80, 0.06, 0.10),
    "BUN": (0.85, 0.56, 0.25),
    "MEAT": (0.33, 0.16, 0.08),
}
INK, PAPER, BEAK, WOOD, TAN, GLASS, STEEL, RUBBER, LEAF, BLUSH, LIGHT, CLAY, ROOF, CHERRY, BUN, MEAT = range(
    FREE_SLOTS, FREE_SLOTS + len(_FIXED)
)


def fixed_rgb() -> Tensor:
    """Colours of the fixed slots, (slots, 3); row i is slot FREE_SLOTS + i."""
    return torch.tensor(list(_FIXED.values()))


def rgb(name: str) -> Tensor:
    """Linear rgb of a named colour, (3,)."""
    return torch.tensor(COLOURS[name])
