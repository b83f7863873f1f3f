"""Methods by name."""

from __future__ import annotations

from typing import Any, TypeVar

from ..core.config import from_json, parts_of
from ..core.errors import check_choice
from .base import Recipe, Stage
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

Kind = TypeVar("Kind", bound=type)

__all__ = [
    "RECIPES", "CanvasRecipe", "DreamFlow", "DreamFusion", "Fantasia3D", "Magic3D", "ProlificDreamer", "Quick",
    "Recipe", "ScoreJacobianChaining", "Stage", "find_recipe",
    "recipe_from_json", "register",
]  # fmt: skip


def find_recipe(name: str, preset: str | None = None) -> Recipe:
    """A recipe by name, or one of its presets.

    Raises:
        ScoreliftError: for an unknown name.
    """
    check_choice("recipe", name, RECIPES)
    cls = RECIPES[name]
    return cls() if preset is None else cls.preset(preset)


_PARTS: list[type] = []


def register(cls: Kind) -> Kind:
    """Make a recipe, or a part of one (a distiller, a noise, a scene ...), known to saved runs; also as a decorator.

    A recipe is then found by its name, too. What the fields of registered classes may hold is known with them.
    """
    if issubclass(cls, Recipe):
        RECIPES[cls.name] = cls
    elif cls not in _PARTS:
        _PARTS.append(cls)
    return cls


def recipe_from_json(value: Any) -> Recipe:
    """The recipe a run was made with, from its config.json.

    Raises:
        ScoreliftError: if it names what nobody registered.
    """
    return from_json(value, parts_of(*RECIPES.values(), *_PARTS))
