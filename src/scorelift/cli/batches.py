"""The command that makes many runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import AvoidSubcommands, Positional

from .options import FLAT, call
from .runs import peek, recipe_name

if TYPE_CHECKING:
    from ..batching.ledger import Entry


def batch(argv: Sequence[str]) -> None:
    """Turn a file of prompts into assets, several at a time."""
    from ..recipes import find_recipe

    default = find_recipe(recipe_name(argv), peek(argv, "--preset"))

    def command(
        file: Positional[Path], /, *, out: Path = Path("runs/batch"), recipe: str = "quick", preset: str | None = None,
        steps: int | None = None, seeds: int = 1, device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        workers: int | None = None, ray: str | None = None, rank: bool = False, quiet: bool = False,
        settings: Annotated[Any, FLAT] = default,
    ) -> None:  # fmt: skip
        """Turn a file of prompts into assets, several at a time; the same command continues what was stopped.

        Args:
            file: One prompt a line (# begins a comment), or one JSON object a line with "prompt" and, if they are to
                differ, "seed", "recipe", "preset", "prior", "steps", "until", fields of the recipe ("shape.steps") and
                "out", the name of its folder.
            out: Folder of all runs, of batch.json and index.html.
            recipe: Method; `scorelift recipes` lists them.
            preset: A variant of the recipe.
            steps: Steps of each stage; schedules scale along.
            seeds: Runs of each prompt, with one seed after the other.
            device: Where to compute.
            workers: Runs at a time, each with its share of the cores, or a GPU; default 1, with --ray all there is.
            ray: Address of a ray cluster to share the work with; auto: the one at hand; local: one started here.
            rank: When all is done, ask the prior which of each prompt's runs says it best (`scorelift rank`).
            quiet: Print nothing but errors.
            settings: Every field of the recipe; the prior and the first seed also of lines that name another recipe.
        """
        from ..batching.many import batch as run_them

        entries = run_them(
            file, out=out, recipe=settings, steps=steps, prior=peek(argv, "--prior"),
            seed=settings.seed if peek(argv, "--seed") else None, seeds=seeds, device=device,
            workers=workers, ray=ray, ranked=rank, told=(lambda *_: None) if quiet else _told,
        )  # fmt: skip
        _report(entries, out, quiet, _rank(entries, out, device) if rank else [])

    command.__annotations__["settings"] = Annotated[type(default), FLAT, AvoidSubcommands]
    call(command, argv, "scorelift batch")


def _told(entry: Entry, ended: int, total: int) -> None:
    """Say that a run has begun or ended."""
    if entry.state != "stopped":
        doing = {"running": "begins", "finished": f"finished in {entry.seconds or 0:.0f} s"}
        print(f"{ended}/{total}  {entry.label}: {doing.get(entry.state, 'failed')}", flush=True)


def _report(entries: list[Entry], out: Path, quiet: bool, unranked: list[str]) -> None:
    """Say what came of a batch; if a run failed, or some could not be ranked, the exit code is 1."""
    failed = [entry for entry in entries if entry.state != "finished"]
    if not quiet:
        print(f"{out / 'index.html'}  ({len(entries) - len(failed)} of {len(entries)} finished)")
    if failed:
        print(f"scorelift: {len(failed)} of {len(entries)} failed; the same command tries them again.", file=sys.stderr)
        for entry in failed:
            print(f"  {entry.where}: {entry.label}: {entry.error}", file=sys.stderr)
    for text in unranked:
        print(f"scorelift: not ranked: {text}", file=sys.stderr)
    if failed or unranked:
        raise SystemExit(1)


def _rank(entries: list[Entry], out: Path, device: str) -> list[str]:
    """Mark the best of the runs of each prompt that has several, and write the batch's files again.

    Returns:
        What could not be ranked, and why.
    """
    from ..batching.many import publish
    from ..core.errors import ScoreliftError
    from ..core.locks import alone
    from ..engine.run import Run

    groups: dict[tuple[str, str], dict[str, Entry]] = {}  # nats of two prompts, or two priors, do not compare
    for entry in entries:
        if entry.state == "finished":
            key = entry.prompt, Run.open(entry.folder).recipe.prior
            groups.setdefault(key, {})[str(entry.folder)] = entry
    unranked = []
    try:
        with alone(out):
            for (prompt, _), done in groups.items():
                try:
                    _mark(done, device)
                except ScoreliftError as error:
                    unranked.append(f"{prompt}: {error}")
            publish(out, entries)
    except ScoreliftError as error:
        unranked.append(str(error))
    return unranked


def _mark(done: dict[str, Entry], device: str) -> None:
    """Give runs of one prompt, by their folders, their nats; one alone is not asked about."""
    from ..evaluate.evidence import rank

    if len(done) > 1:
        rows = rank(list(done), device=device)
        for row in rows:
            done[row["run"]].nats = round(row["nats"], 2)
        done[rows[0]["run"]].best = True
