"""From a mesh and a prompt to a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.errors import bad
from ..recipes import find_recipe
from ..recipes.paint import Paint
from .generate import generate
from .run import Run


def paint(
    mesh: str | Path, prompt: str, *, recipe: Paint | str | None = None, preset: str | None = None, **rest: Any
) -> Run:
    """Colour a mesh of one's own by a sentence; its shape stays as it is.

    Args:
        mesh: GLB, glTF, OBJ, PLY, STL or OFF, +y up and front +z.
        recipe: `Paint()` with other numbers; a name, or None: the recipe as it is, or its `preset`.
        rest: as for `generate`: `out`, `prior`, `steps`, `seed`, `device`, `resume`, `quiet`.

    Returns:
        The finished run; its `asset.glb` lies where the mesh lay.

    Raises:
        ScoreliftError: for a mesh that cannot be read, and as `generate`.
    """
    if recipe is None or isinstance(recipe, str):
        found = find_recipe(recipe or Paint.name, preset)
        if not isinstance(found, Paint):
            raise bad("recipe", expected=Paint.name, got=recipe)
        recipe = found
    elif preset is not None:
        raise bad("preset", expected="None, for the recipe is given whole", got=preset)
    return generate(prompt, recipe=recipe.of(str(mesh)), **rest)
