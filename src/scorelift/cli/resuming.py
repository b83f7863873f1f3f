"""What is asked of a run that is resumed: little but what it was begun with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.config import leaves, option_of
from ..core.errors import bad

if TYPE_CHECKING:
    from ..recipes import Recipe

OPEN = {"until"}
"Options that may be others, as those of `finish` may, by which only the outputs are made."
REMEDY = "With --resume leave it out; for other settings choose another --out."


def begun(folder: Path, name: str | None, preset: str | None) -> Recipe | None:
    """The recipe with which the run in a folder was begun, to the preset's last stage; None if there is no run.

    Args:
        name, preset: of the recipe that was asked for.

    Raises:
        ScoreliftError: if that is another recipe.
    """
    from ..engine.run import Run
    from ..recipes import find_recipe

    if not (folder / "config.json").exists():
        return None
    recipe = Run.open(folder).recipe
    if name not in (None, recipe.name):
        raise bad(
            "recipe", expected=f"{recipe.name}, with which the run in {folder} was begun", got=name, remedy=REMEDY
        )
    return replace(recipe, until=find_recipe(recipe.name, preset).until)


def check_same(folder: Path, asked: Recipe, usual: Recipe) -> None:
    """Raise if a run is to be resumed with other settings than it was begun with; no run: nothing to check.

    What counts as asked is what differs from the `usual` recipe.
    """
    from ..engine.run import Run

    if not (folder / "config.json").exists():
        return
    known, wanted, standard = (leaves(recipe) for recipe in (Run.open(folder).recipe, asked, usual))
    for name, value in wanted.items():
        if name in OPEN or name.startswith("finish.") or value == standard.get(name, value):
            continue
        if known.get(name) != value:
            raise bad(option_of(name), expected=f"{known.get(name)}, with which the run in {folder} was begun",
                      got=value, remedy=REMEDY)  # fmt: skip
