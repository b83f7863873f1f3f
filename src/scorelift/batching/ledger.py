"""batch.json: what became of each run of a batch, written whenever that changes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..core.files import write_json
from ..engine.run import Run, slug
from ..version import __version__
from .orders import Order
from .work import trace_of

State = Literal["waiting", "running", "finished", "failed", "stopped"]


@dataclass(kw_only=True)
class Entry:
    """One run of a batch."""

    prompt: str
    seed: int
    folder: Path
    state: State = "waiting"
    seconds: float | None = None
    "What the run took: of one that was finished before, all of it; else what it took this time."
    error: str | None = None
    "A sentence, of one that failed."
    nats: float | None = None
    "The prior's evidence for it, if the batch was ranked."
    best: bool = False
    "Whether it has the most of its prompt's runs."
    where: str = ""
    "Where it was asked for: `line 3`."

    @property
    def label(self) -> str:
        """What tells it from the others: prompt and seed, and its folder's name if that says more."""
        own = self.folder.name == f"{slug(self.prompt)}-{self.seed}"
        return f"{self.prompt}, seed {self.seed}" + ("" if own else f", in {self.folder.name}")

    @staticmethod
    def of(order: Order) -> Entry:
        """The entry of an order, before this batch did anything for it."""
        entry = Entry(prompt=order.prompt, seed=order.plan.seed, folder=order.folder, where=order.where)
        if (order.folder / "config.json").exists():
            run = Run.open(order.folder)
            if run.finished:
                entry.state, entry.seconds = "finished", run.metrics.get("seconds")
        return entry


def write_ledger(out: Path, entries: Sequence[Entry]) -> None:
    """Write batch.json, whole or not at all; folders are relative to its own."""
    runs = [
        {
            "prompt": entry.prompt, "seed": entry.seed, "folder": relative(entry.folder, out), "state": entry.state,
            "seconds": entry.seconds, "error": entry.error,
            **({"traceback": relative(trace, out)} if (trace := trace_of(entry.folder)).exists() else {}),
            **({} if entry.nats is None else {"nats": entry.nats, "best": entry.best}),
        }
        for entry in entries
    ]  # fmt: skip
    write_json(out / "batch.json", {"scorelift": __version__, "runs": runs})


def relative(folder: Path, out: Path) -> str:
    """A folder as seen from another, with forward slashes."""
    return Path(os.path.relpath(folder, out)).as_posix()
