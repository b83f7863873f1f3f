"""A run is a folder: configuration, log, checkpoints, outputs. All that is needed to resume, export or evaluate it."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
import unicodedata
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.config import to_json
from ..core.errors import DamagedError, ScoreliftError, bad, reason
from ..core.files import load_state, save_state, write_json
from ..core.locks import is_empty
from ..recipes import Recipe, recipe_from_json
from ..recipes.base import Finish
from ..version import __version__

KEEP = 2


def slug(prompt: str, limit: int = 60) -> str:
    """A file name for a prompt of any length and alphabet; prompts that lose letters in it end in a hash."""
    plain = unicodedata.normalize("NFKD", prompt).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
    letters = sum(c.isalnum() for c in prompt)
    if 0 < len(name) <= limit and sum(c.isalnum() for c in name) == letters:
        return name
    return "-".join(
        part for part in (name[:limit].strip("-") or "prompt", hashlib.sha256(prompt.encode()).hexdigest()[:8]) if part
    )


def run_folder(prompt: str, seed: int | str, out: str | Path | None) -> Path:
    """Where a run goes; default: runs/<prompt>-<seed>."""
    return Path(out) if out is not None else Path("runs") / f"{slug(prompt)}-{seed}"


class Run:
    """One run's folder."""

    def __init__(self, path: Path, config: dict[str, Any]) -> None:
        self.path, self.config = path, config

    @staticmethod
    def create(path: Path, prompt: str, recipe: Recipe, *, start: str | Path | None = None) -> Run:
        """Begin a run in a new or empty folder.

        Raises:
            ScoreliftError: if the folder holds something or cannot be written.
        """
        config = {"scorelift": __version__, "prompt": prompt, "recipe_name": recipe.name, "recipe": to_json(recipe)}
        if start is not None:
            config["start"] = str(Path(start).resolve())
        if path.exists() and not path.is_dir():
            raise bad("out", expected="a folder", got=str(path), remedy="A file of that name is in the way.")
        if path.is_dir() and not is_empty(path):
            run = (path / "config.json").exists()
            remedy = "Add --resume to continue that run with its own settings, or choose another --out."
            raise bad("out", expected="a new or empty folder",
                      got=f"{path}, which holds {'another run' if run else 'other files'}",
                      remedy=remedy if run else "Choose another --out.")  # fmt: skip
        try:
            (path / "checkpoints").mkdir(parents=True, exist_ok=True)
            write_json(path / "config.json", config)
        except OSError as error:
            raise bad("out", expected="a folder that can be written", got=str(path), remedy=f"({error})") from error
        return Run(path, config)

    @staticmethod
    def open(path: str | Path) -> Run:
        """Open an existing run.

        Raises:
            ScoreliftError: if the folder is not one.
        """
        path = Path(path)
        try:
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
            if not (isinstance(config, dict) and isinstance(config.get("prompt"), str) and "recipe" in config):
                raise KeyError("prompt")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise bad("run", expected="a folder made by `scorelift generate`", got=str(path)) from error
        except (ValueError, KeyError) as error:
            raise bad("run", expected="a readable config.json", got=f"{path / 'config.json'}, which is damaged",
                      remedy="What was run is not known without it: run it again elsewhere.") from error  # fmt: skip
        return Run(path, config)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.prompt!r})"

    def forget(self) -> None:
        """Empty the folder of a run that failed before it kept anything, so that it is in nobody's way."""
        if self.checkpoints() or self.read_log():
            return
        for name in ("config.json", "log.jsonl", "live.png"):
            (self.path / name).unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's files
            (self.path / "checkpoints").rmdir()

    @property
    def prompt(self) -> str:
        return self.config["prompt"]

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe it was made with."""
        return recipe_from_json(self.config["recipe"], str(self.path / "config.json"))

    def changed(self, until: str | None, finish: Finish) -> Run:
        """The same run, to be continued to another last stage, or to other outputs: those it has are made again.

        What it had made of another stage goes to `stages/`.

        Raises:
            ScoreliftError: if it has gone farther already.
        """
        recipe = dataclasses.replace(self.recipe, until=until, finish=finish)
        begun = self.latest_checkpoint()
        if begun is not None and begun[1] >= len(recipe.stages()):
            raise bad("until", expected=f"a stage not before {begun[2]}, where the run stands", got=until)
        config = {**self.config, "recipe": to_json(recipe)}
        (self.path / "metrics.json").unlink(missing_ok=True)
        before, after = (list(found.stages())[-1] for found in (self.recipe, recipe))
        if before != after:
            self._lay_aside(before)
        write_json(self.path / "config.json", config)
        return Run(self.path, config)

    def _lay_aside(self, stage: str) -> None:
        """Put preview and asset of what was the last stage with the others', so that they are not taken for later's."""
        for name in ("preview.png", "asset.glb"):
            if (self.path / name).exists():
                (self.path / "stages" / stage).mkdir(parents=True, exist_ok=True)
                with suppress(FileNotFoundError):  # another process of the team was quicker
                    (self.path / name).replace(self.path / "stages" / stage / name)

    def keep_meshes(self, meshes: dict[str, str]) -> None:
        """Write down hashes of the meshes that users brought, by the options that name them.

        Raises:
            ScoreliftError: if one is not as it was.
        """
        known = {f"{name}.guide.path": found for name, found in self.config.get("guides", {}).items()}  # until 2026-11
        known |= self.config.get("meshes", {})
        for name, found in meshes.items():
            if known.get(name, found) != found:
                raise bad(name, expected=f"the mesh with which the run in {self.path} was begun", got="another now",
                          remedy="Put the old one back, or choose another --out.")  # fmt: skip
        if meshes.keys() - known.keys():
            self.config = {**self.config, "meshes": {**meshes, **known}}
            write_json(self.path / "config.json", self.config)

    @property
    def finished(self) -> bool:
        """Whether all outputs were written."""
        return (self.path / "metrics.json").exists()

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures of a finished run.

        Raises:
            ScoreliftError: if it is not finished.
            DamagedError: if they cannot be read.
        """
        if not self.finished:
            raise ScoreliftError(f"run: {self.path} is not finished. Continue it with --resume.")
        path = self.path / "metrics.json"
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            remedy = "Remove it and continue the run with --resume, which makes it again."
            raise DamagedError(f"run: {path} is damaged ({reason(error)}).", remedy) from error

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to log.jsonl."""
        with (self.path / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def read_log(self) -> list[dict[str, Any]]:
        """All log lines; what is none, as a half-written last one, is left out."""
        path = self.path / "log.jsonl"
        entries = []
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict) and {"index", "step"} <= entry.keys():
                entries.append(entry)
        return entries

    def rewind_log(self, index: int, step: int) -> None:
        """Drop log lines of steps after a checkpoint, so that a resumed run's log equals an uninterrupted one's."""
        kept = [e for e in self.read_log() if (e["index"], e["step"]) <= (index, step)]
        text = "".join(json.dumps(e) + "\n" for e in kept)
        temporary = self.path / "log.jsonl.tmp"
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, self.path / "log.jsonl")

    def checkpoints(self) -> list[Path]:
        """Checkpoint files, oldest first."""
        return sorted((self.path / "checkpoints").glob("[0-9]*.safetensors"))

    def save_checkpoint(self, index: int, stage: str, step: int, state: dict[str, Any], *, last: bool = False) -> Path:
        """Save a state of a stage; of a stage's checkpoints only the latest KEEP stay."""
        path = self.path / "checkpoints" / checkpoint_name(index, stage, step)
        save_state(path, state)
        same = [p for p in self.checkpoints() if p.name.startswith(f"{index}-{stage}-")]
        for old in same[: -(1 if last else KEEP)]:
            old.unlink()
        return path

    def latest_checkpoint(self) -> tuple[Path, int, str, int] | None:
        """Path, stage index, stage name and step of the newest checkpoint."""
        files = self.checkpoints()
        if not files:
            return None
        return files[-1], *checkpoint_parts(files[-1])

    def load_checkpoint(self, path: Path) -> dict[str, Any]:
        """A checkpoint's state; numbers that somebody has made half precision are single again.

        Raises:
            DamagedError: if it cannot be read.
            ScoreliftError: if it is not there, or no checkpoint.
        """
        return load_state(path, widen=True)

    def load_newest(self) -> tuple[Path, dict[str, Any], list[Path]] | None:
        """The newest checkpoint that can be read, its state, and newer ones, which are damaged; None if there is none.

        Raises:
            DamagedError: if there are some, but none can be read.
        """
        damaged: dict[Path, DamagedError] = {}
        for path in reversed(self.checkpoints()):
            try:
                return path, self.load_checkpoint(path), list(damaged)
            except DamagedError as error:
                damaged[path] = error
        if damaged:
            raise next(iter(damaged.values()))
        return None


def checkpoint_name(index: int, stage: str, step: int) -> str:
    """Of the file; names sort by time."""
    return f"{index}-{stage}-{step:07d}.safetensors"


def checkpoint_parts(path: Path) -> tuple[int, str, int]:
    """Stage index, stage name and step of a checkpoint, by its file's name.

    >>> checkpoint_parts(Path("1-surface-0000200.safetensors"))
    (1, 'surface', 200)
    """
    index, stage, step = re.fullmatch(r"(\d+)-(.+)-(\d+)", path.stem).groups()  # type: ignore[union-attr]
    return int(index), stage, int(step)
