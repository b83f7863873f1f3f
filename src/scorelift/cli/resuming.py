"""What is asked of a run that is resumed: nothing but what it was begun with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.config import leaves, option_of
from ..core.errors import bad

if TYPE_CHECKING:
    from ..recipes import Recipe

OPEN = {"until"}
"Options that may be others."


def check_same(folder: Path, asked: Recipe, usual: Recipe, argv: Sequence[str] = ()) -> None:
    """Raise if a run is to be resumed with other settings than it was begun with; no run: nothing to check.

    What counts as asked is what differs from the `usual` recipe, and whatever `argv` names.
    """
    from ..engine.run import Run

    if not (folder / "config.json").exists():
        return
    begun, wanted, standard = (leaves(recipe) for recipe in (Run.open(folder).recipe, asked, usual))
    named = {word[2:].split("=")[0].replace("-", "_") for word in argv if word.startswith("--")}
    if "recipe" in named:
        named.add("type")
    for name, value in wanted.items():
        if name in OPEN or (value == standard.get(name, value) and name not in named):
            continue
        if begun.get(name) != value:
            raise bad(option_of(name), expected=f"{begun.get(name)}, with which the run in {folder} was begun",
                      got=value,
                      remedy="With --resume leave it out; for other settings choose another --out.")  # fmt: skip
