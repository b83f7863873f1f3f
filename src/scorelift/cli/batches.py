"""The command that makes many runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from ..batching.ledger import Entry


def batch(
    file: Positional[Path], /, *, out: Path = Path("runs/batch"), recipe: str = "quick", preset: str | None = None,
    prior: str | None = None, steps: int | None = None, seed: int | None = None, seeds: int = 1,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto", workers: int | None = None, ray: str | None = None,
    rank: bool = False, quiet: bool = False,
) -> None:  # fmt: skip
    """Turn a file of prompts into assets, several at a time; the same command continues what was stopped.

    Args:
        file: One prompt a line (# begins a comment), or one JSON object a line with "prompt" and, if they are to
            differ, "seed", "recipe", "preset", "prior", "steps" and "out", the name of its folder.
        out: Folder of all runs, of batch.json and index.html.
        recipe: Method; `scorelift recipes` lists them.
        preset: A variant of the recipe.
        prior: A prior's name, a diffusers model's folder or hub id, or a weights file; default the recipe's.
        steps: Steps of each stage; schedules scale along.
        seed: The first seed of each prompt; default the recipe's.
        seeds: Runs of each prompt, with one seed after the other.
        device: Where to compute.
        workers: Runs at a time, each with its share of the cores, or a GPU; default 1, with --ray all there is.
        ray: Address of a ray cluster to share the work with; auto: the one at hand; local: one started here.
        rank: When all is done, ask the prior which of each prompt's runs says it best (`scorelift rank`).
        quiet: Print nothing but errors.
    """
    from ..batching.many import batch as run_them

    def told(entry: Entry, ended: int, total: int) -> None:
        if entry.state != "stopped":
            doing = {"running": "begins", "finished": f"finished in {entry.seconds or 0:.0f} s"}
            print(f"{ended}/{total}  {entry.prompt}, seed {entry.seed}: {doing.get(entry.state, 'failed')}", flush=True)

    entries = run_them(
        file, out=out, recipe=recipe, preset=preset, prior=prior, steps=steps, seed=seed, seeds=seeds, device=device,
        workers=workers, ray=ray, **({} if quiet else {"told": told}),
    )  # fmt: skip
    if rank:
        _rank(entries, out, device)
    failed = [entry for entry in entries if entry.state == "failed"]
    if not quiet:
        print(f"{out / 'index.html'}  ({len(entries) - len(failed)} of {len(entries)} finished)")
    if failed:
        print(f"scorelift: {len(failed)} of {len(entries)} failed; the same command tries them again.", file=sys.stderr)
        for entry in failed:
            print(f"  {entry.where}: {entry.prompt}, seed {entry.seed}: {entry.error}", file=sys.stderr)
        raise SystemExit(1)


def _rank(entries: list[Entry], out: Path, device: str) -> None:
    """Mark the best of the runs of each prompt that has several, and write the batch's files again."""
    from ..batching.many import publish
    from ..core.locks import alone
    from ..engine.run import Run
    from ..evaluate.evidence import rank

    groups: dict[tuple[str, str], dict[str, Entry]] = {}  # nats of two prompts, or two priors, do not compare
    for entry in entries:
        if entry.state == "finished":
            key = entry.prompt, Run.open(entry.folder).recipe.prior
            groups.setdefault(key, {})[str(entry.folder)] = entry
    with alone(out):
        for done in groups.values():
            if len(done) < 2:
                continue
            rows = rank(list(done), device=device)
            for row in rows:
                done[row["run"]].nats = round(row["nats"], 2)
            done[rows[0]["run"]].best = True
        publish(out, entries)
