"""What every re-run shares: runs that are kept and continued, and a page with table and picture."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jaxtyping import UInt8
from numpy import ndarray

from ..core.config import to_json
from ..core.errors import EmptySceneError
from ..core.files import write_bytes, write_json
from ..core.pictures import write_png
from ..engine.generate import generate
from ..engine.run import Run, slug
from ..evaluate.tables import cell
from ..recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How much of a study is run: every prompt with every seed."""

    prompts: tuple[str, ...]
    seeds: tuple[int, ...]
    steps: int | None = None
    "Of each stage; None for the recipe's own."

    @property
    def cases(self) -> list[tuple[str, int]]:
        """Prompt and seed of each run."""
        return [(prompt, seed) for prompt in self.prompts for seed in self.seeds]


def small(recipe: type[Recipe], changes: dict[str, Any], *, steps: int | None, seed: int) -> Recipe:
    """The `small` preset of a recipe of one stage, with fields of the stage replaced; `steps` None for its own."""
    preset = recipe.preset("small")
    ((name, stage),) = preset.stages().items()
    return replace(preset.with_stages({name: replace(stage, steps=steps or stage.steps, **changes)}), seed=seed)


def digest(recipe: Recipe) -> str:
    """Eight letters that change with any field of a recipe but the seed."""
    text = json.dumps(to_json(replace(recipe, seed=0)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class Bench:
    """Makes the runs of a study in a folder; those that are finished are kept, the others continued.

    A recipe that has changed since has another folder.
    """

    def __init__(self, folder: Path, *, device: str = "auto", say: Callable[[str], None] = lambda _: None) -> None:
        self.folder, self.device, self.say = folder, device, say
        self.seconds = 0.0
        "Spent on all runs, the kept ones included."

    def run(self, label: str, prompt: str, recipe: Recipe, *, start: Run | None = None) -> Run:
        """The finished run of a prompt with a recipe; `label` names the recipe.

        Args:
            start: a run of the same recipe with an earlier `until`, from a copy of which this one goes on.
        """
        steps = "-".join(str(stage.steps) for stage in recipe.stages().values())
        path = self.folder / f"{slug(label)}-{steps}-{digest(recipe)}" / f"{slug(prompt)}-{recipe.seed}"
        if start is not None and not path.exists():
            temporary = path.with_name(path.name + ".tmp")
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.copytree(start.path, temporary)
            temporary.rename(path)
        run = generate(prompt, out=path, recipe=recipe, device=self.device, resume=True, quiet=True)
        seconds = run.metrics["seconds"] - (start.metrics["seconds"] if start is not None else 0.0)
        self.seconds += seconds
        self.say(f"{path}  {seconds:.0f} s")
        return run

    def attempt(self, label: str, prompt: str, recipe: Recipe, *, start: Run | None = None) -> Run | None:
        """The same; None of a run that ends with nothing to see, which is a finding as well."""
        try:
            return self.run(label, prompt, recipe, start=start)
        except EmptySceneError as error:
            self.say(f"{label}, {prompt}, seed {recipe.seed}: {error}")
            return None

    def grid(self, scale: Scale, recipes: Mapping[str, Callable[..., Recipe]]) -> dict[str, list[Run | None]]:
        """Every prompt and seed with every recipe, made for the seed; a stop leaves all recipes the same prompts.

        Returns:
            For each recipe a run, or None, for each of `scale.cases`.
        """
        runs: dict[str, list[Run | None]] = {label: [] for label in recipes}
        for prompt, seed in scale.cases:
            for label, recipe in recipes.items():
                runs[label].append(self.attempt(label, prompt, recipe(seed=seed)))
        return runs


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What came out: a title, text with a table, the same as values, and a picture."""

    title: str
    text: str
    values: dict[str, Any]
    picture: UInt8[ndarray, "h w 3"]

    def write(self, folder: Path, name: str, note: str) -> list[Path]:
        """Write NAME.md, NAME.png and NAME.json; `note` says how it was made."""
        folder.mkdir(parents=True, exist_ok=True)
        page, picture, values = (folder / f"{name}.{suffix}" for suffix in ("md", "png", "json"))
        write_png(picture, self.picture)
        write_json(values, self.values)
        write_bytes(page, f"# {self.title}\n\n{note}\n\n{self.text}\n\n![{self.title}]({picture.name})\n".encode())
        return [page, picture, values]


def write_index(folder: Path, paper: str) -> Path:
    """Write PAPER.md: the pages of a paper's studies in a folder, and how each was made."""
    lines = [f"# {paper}: what was made again", ""]
    for page in sorted(folder.glob(f"{paper}-*.md")):
        title, _, note = page.read_text(encoding="utf-8").splitlines()[:3]
        lines.append(f"- [{title.removeprefix('# ')}]({page.name}). {note}")
    index = folder / f"{paper}.md"
    write_bytes(index, ("\n".join(lines) + "\n").encode())
    return index


@dataclass(frozen=True)
class Study:
    """A figure or table that can be made again."""

    make: Callable[[Bench, Scale], Findings]
    summary: str
    full: Scale
    fast: Scale


def table(first: str, columns: Sequence[str], rows: Mapping[str, Sequence[Any]]) -> str:
    """A Markdown table; figures with their intervals, as `summary` gives them, or plain values."""
    lines = [f"| {first} | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    lines += [f"| {name} | " + " | ".join(map(cell, values)) + " |" for name, values in rows.items()]
    return "\n".join(lines)
