"""What a batch is asked for: prompts from a file, one a line, or JSON lines with settings of their own."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from ..core.errors import ScoreliftError, bad, check_prompt, whole
from ..core.locks import LOCK
from ..engine.run import slug
from ..recipes import Recipe, find_recipe, with_fields

KEYS = ("prompt", "seed", "recipe", "preset", "prior", "steps", "until", "out")
OURS = ("batch.json", "index.html", LOCK)
"What a batch itself writes into its folder."
_TEXT = ("recipe", "preset", "prior", "until", "out")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What holds for every line that does not say otherwise."""

    recipe: Recipe
    "Of lines that name neither a recipe nor a preset."
    prior: str | None = None
    steps: int | None = None
    seed: int | None = None
    "The first seed of each prompt; None: the recipe's."
    seeds: int = 1
    "Runs of each prompt, with one seed after the other."


@dataclass(frozen=True, kw_only=True)
class Order:
    """One run to make."""

    where: str
    "Where it was asked for: `line 3`."
    prompt: str
    folder: Path
    plan: Recipe


@dataclass(frozen=True)
class Complaint:
    """What is wrong with a line."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def read_orders(
    source: str | Path | Sequence[str | Mapping[str, Any]], out: Path, settings: Settings
) -> tuple[list[Order], list[Complaint]]:
    """The runs that a file, or a list of prompts and settings, asks for; and what is wrong with it, line by line.

    Args:
        source: a file with a prompt a line, or a JSON object with a "prompt" a line; blank lines and those that begin
            with # are skipped. Or a list of such prompts and objects.
        out: the folder in which each run has its own.

    Raises:
        ScoreliftError: if the file cannot be read, or asks for nothing.
    """
    orders: list[Order] = []
    complaints: list[Complaint] = []
    items = list(_lines(Path(source)) if isinstance(source, str | Path) else _items(source))
    if not items:
        raise bad("file", expected="at least one prompt", got=f"none in {source}")
    for where, item in items:
        try:
            orders += _orders(where, item, out, settings)
        except (ScoreliftError, RecursionError) as error:  # the latter of values nested without end
            complaints.append(Complaint(where, str(error)))
    return orders, complaints


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    """What stands on each line that says something: a prompt, or an object."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise bad("file", expected="a file of prompts, one a line", got=str(path), remedy=f"({error})") from error
    said = [(i, line.strip()) for i, line in enumerate(text.split("\n"), 1)]  # JSON strings may hold other line ends
    said = [(i, line) for i, line in said if line and not line.startswith("#")]
    objects = path.suffix.lower() in (".jsonl", ".ndjson") or bool(said and said[0][1].startswith("{"))
    for i, line in said:
        yield f"line {i}", _parsed(line) if objects else line


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        return ScoreliftError(
            f'expected a JSON object like {{"prompt": "a red mushroom"}}, got {line[:60]!r} ({error}).'
        )


def _items(source: Sequence[str | Mapping[str, Any]]) -> Iterator[tuple[str, Any]]:
    for i, item in enumerate(source, 1):
        yield f"item {i}", dict(item) if isinstance(item, Mapping) else item


def _orders(where: str, item: Any, out: Path, settings: Settings) -> Iterator[Order]:
    """The runs of one line, one a seed."""
    if isinstance(item, ScoreliftError):
        raise item
    asked = _checked({"prompt": item} if isinstance(item, str) else item)
    prompt: str = asked["prompt"]
    name: str | None = asked.get("out")
    plan = _plan(asked, settings)
    for seed in range(plan.seed, plan.seed + settings.seeds):
        own = f"{slug(prompt)}-{seed}" if name is None else f"{name}-{seed}" if settings.seeds > 1 else name
        yield Order(where=where, prompt=prompt, folder=out / own, plan=dataclasses.replace(plan, seed=seed))


def _plan(asked: Mapping[str, Any], settings: Settings) -> Recipe:
    """The recipe of a line's first run: the batch's, or the one it names; then what is said of steps, prior and seed;
    then the line's own fields.
    """
    plan = settings.recipe
    name, preset = asked.get("recipe") or plan.name, asked.get("preset")
    if name != plan.name or preset:
        plan = find_recipe(name, preset)
    every: dict[str, Any] = {"prior": settings.prior, "seed": settings.seed, "steps": settings.steps}
    said = every | {key: value for key, value in asked.items() if value is not None}
    if said["steps"] is not None:
        plan = plan.with_steps(said["steps"])
    changes = {key: said[key] for key in ("prior", "seed", "until") if said.get(key) is not None}
    plan = dataclasses.replace(plan, **changes)
    fields = {key: value for key, value in asked.items() if key not in KEYS}
    return with_fields(plan, fields) if fields else plan


def _checked(asked: Any) -> dict[str, Any]:
    """A line's settings.

    Raises:
        ScoreliftError: for what is not of its kind.
    """
    if not isinstance(asked, dict):
        raise ScoreliftError(f'expected a JSON object like {{"prompt": "a red mushroom"}}, got {asked!r}.')
    for key in asked:
        if key not in KEYS and "." not in key:
            near = get_close_matches(key, KEYS, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else ""
            known = f"one of the keys {', '.join(KEYS)}, or a field of the recipe, as shape.steps"
            raise bad(key, expected=known, got=key, remedy=hint)
    check_prompt(asked.get("prompt"))
    for key in _TEXT:
        if not isinstance(asked.get(key), str | None):
            raise bad(key, expected="text", got=asked[key])
    for key in ("seed", "steps"):
        if asked.get(key) is not None:
            asked[key] = whole(key, asked[key])
    name = asked.get("out")
    if name is not None and not _within(name):
        raise bad("out", expected="the name of a folder within the batch's", got=name)
    if name is not None and PurePosixPath(name).parts[0].lower() in OURS:
        raise bad("out", expected=f"a name other than {', '.join(OURS)}, which are the batch's own files", got=name)
    return asked


def _within(name: str) -> bool:
    """Whether a path stays within the folder it is put in.

    >>> _within("red/duck"), _within("../duck"), _within("/duck"), _within(".")
    (True, False, False, False)
    """
    kinds = (PurePosixPath(name), PureWindowsPath(name))
    whole = any(path.is_absolute() or path.drive or ".." in path.parts for path in kinds)
    return bool(name.strip()) and not whole and str(kinds[0]) != "."
