"""Methods by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ..core.config import from_json, parts_of, to_json, with_values
from ..core.errors import ScoreliftError, bad, check_choice
from .base import Recipe, Stage
from .canvas import CanvasRecipe
from .dreamfields import DreamFields
from .dreamflow import DreamFlow
from .dreamfusion import DreamFusion
from .dreamgaussian import DreamGaussian
from .fantasia3d import Fantasia3D
from .latentnerf import LatentNeRF
from .magic3d import Magic3D
from .paint import Paint
from .prolificdreamer import ProlificDreamer
from .quick import Quick
from .sjc import ScoreJacobianChaining

RECIPES: dict[str, type[Recipe]] = {
    cls.name: cls for cls in (
        Quick, DreamFusion, ScoreJacobianChaining, DreamFlow, ProlificDreamer, Magic3D, Fantasia3D, LatentNeRF,
        DreamFields, DreamGaussian, Paint, CanvasRecipe,
    )
}  # fmt: skip

Kind = TypeVar("Kind", bound=type)

__all__ = [
    "RECIPES", "CanvasRecipe", "DreamFields", "DreamFlow", "DreamFusion", "DreamGaussian", "Fantasia3D", "LatentNeRF",
    "Magic3D", "Paint", "ProlificDreamer", "Quick", "Recipe", "ScoreJacobianChaining", "Stage", "find_recipe",
    "recipe_from_json", "register",
]  # fmt: skip


def find_recipe(name: str, preset: str | None = None, fields: Mapping[str, Any] | None = None) -> Recipe:
    """A recipe by name, or one of its presets, with other values for some of its fields.

    Args:
        fields: by the names that `scorelift generate` has for them. What holds fields itself is given whole, with its
            class as "type"; those that are left out are then that class's.

    Raises:
        ScoreliftError: for an unknown name, or a value that a field does not take.

    >>> find_recipe("quick", fields={"shape.steps": 900, "shape.distiller": {"type": "SDS"}}).shape.distiller.weighting
    'sigma2'
    """
    check_choice("recipe", name, RECIPES)
    cls = RECIPES[name]
    found = cls() if preset is None else cls.preset(preset)
    return with_fields(found, fields) if fields else found


def with_fields(recipe: Recipe, fields: Mapping[str, Any]) -> Recipe:
    """The recipe with other values for some of its fields, as `find_recipe` takes them."""
    try:
        found = from_json(with_values(to_json(recipe), fields), known_parts(), OWN)
    except TypeError as error:
        raise ScoreliftError(f"{', '.join(fields)}: expected values of the fields' kinds ({error}).") from error
    assert isinstance(found, Recipe)
    return found


OWN: list[type] = []
"Parts that are not ours: `register` adds to them."


def register(cls: Kind) -> Kind:
    """Make a recipe, or a part of one (a distiller, a noise, a scene ...), known to saved runs; also as a decorator.

    A recipe is then found by its name, too. What the fields of registered classes may hold is known with them.
    """
    if issubclass(cls, Recipe):
        RECIPES[cls.name] = cls
    elif cls not in OWN:
        OWN.append(cls)
    return cls


def known_parts() -> dict[type, None]:
    """Classes that a saved recipe may name."""
    return parts_of(*RECIPES.values(), *OWN)


def recipe_from_json(value: Any, name: str = "config.json") -> Recipe:
    """The recipe a run was made with, from its config.json, whose path `name` is.

    Raises:
        ScoreliftError: if it is none, or names what nobody registered.
    """
    try:
        recipe = from_json(value, known_parts(), OWN)
    except TypeError as error:
        raise ScoreliftError(f"{name}: damaged ({error}).") from error
    except ScoreliftError as error:
        raise ScoreliftError(f"{name}: damaged, or of another version. {error}") from error
    if not isinstance(recipe, Recipe):
        raise bad(name, expected="the recipe of a run", got=recipe, remedy="The file is damaged.")
    return recipe
