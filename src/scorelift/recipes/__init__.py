"""Methods by name."""

from __future__ import annotations

from typing import Any

from ..core.config import from_json
from ..core.errors import check_choice
from .base import PARTS, Recipe, Stage
from .canvas import CanvasRecipe
from .dreamflow import DreamFlow
from .dreamfusion import DreamFusion
from .fantasia3d import Fantasia3D
from .magic3d import Magic3D
from .prolificdreamer import ProlificDreamer
from .quick import Quick
from .sjc import ScoreJacobianChaining

RECIPES: dict[str, type[Recipe]] = {
    cls.name: cls for cls in (
        Quick, DreamFusion, ScoreJacobianChaining, DreamFlow, ProlificDreamer, Magic3D, Fantasia3D, CanvasRecipe,
    )
}  # fmt: skip

__all__ = [
    "RECIPES", "CanvasRecipe", "DreamFlow", "DreamFusion", "Fantasia3D", "Magic3D", "ProlificDreamer", "Quick",
    "Recipe", "ScoreJacobianChaining", "Stage", "find_recipe", "recipe_from_json",
]  # fmt: skip


def find_recipe(name: str, preset: str | None = None) -> Recipe:
    """A recipe by name, or one of its presets.

    Raises:
        ScoreliftError: for an unknown name.
    """
    check_choice("recipe", name, RECIPES)
    cls = RECIPES[name]
    return cls() if preset is None else cls.preset(preset)


def recipe_from_json(value: Any) -> Recipe:
    """The recipe a run was made with, from its config.json."""
    return from_json(value, (*PARTS, *RECIPES.values()))
