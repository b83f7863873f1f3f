"""Methods by name."""

from __future__ import annotations

from typing import Any

from ..core.config import from_json
from ..core.errors import ScoreliftError, bad, check_choice
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


def recipe_from_json(value: Any, name: str = "config.json") -> Recipe:
    """The recipe a run was made with, from its config.json, whose path `name` is.

    Raises:
        ScoreliftError: if it is none.
    """
    try:
        recipe = from_json(value, (*PARTS, *RECIPES.values()))
    except TypeError as error:
        raise ScoreliftError(f"{name}: damaged ({error}).") from error
    except ScoreliftError as error:
        raise ScoreliftError(f"{name}: damaged, or of another version. {error}") from error
    if not isinstance(recipe, Recipe):
        raise bad(name, expected="the recipe of a run", got=recipe, remedy="The file is damaged.")
    return recipe
