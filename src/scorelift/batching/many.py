"""The batch: every run of it, some at a time, until none is left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

from ..core.config import to_json
from ..core.errors import check_at_least, check_choice
from ..core.files import write_bytes
from ..core.locks import alone
from ..engine.generate import check_asked
from ..engine.interrupt import Interrupt
from ..recipes import Recipe, find_recipe
from .checks import check_orders, check_settings
from .crews import Crew, failed, hire
from .ledger import Entry, write_ledger
from .orders import Order, Settings, read_orders
from .page import index_html

POLL_S = 0.1
Listener = Callable[[Entry, int, int], None]


def batch(
    source: str | Path | Sequence[str | Mapping[str, Any]],
    *,
    out: str | Path = "runs/batch",
    recipe: str | Recipe = "quick",
    preset: str | None = None,
    prior: str | Path | None = None,
    steps: SupportsIndex | None = None,
    seed: SupportsIndex | None = None,
    seeds: int = 1,
    device: str = "auto",
    workers: int | None = None,
    ray: str | None = None,
    ranked: bool = False,
    told: Listener = lambda entry, ended, total: None,
) -> list[Entry]:
    """Turn many prompts into assets, each in its own folder of `out`; what is finished there already is left alone.

    Args:
        source: a file of prompts, one a line, or of JSON objects, one a line, with "prompt" and what of "seed",
            "recipe", "preset", "prior", "steps", "until", "out" and the recipe's fields ("shape.steps") is to differ;
            or a list of prompts and such objects.
        out: the folder of all runs, of `batch.json` and `index.html`.
        recipe, preset, prior, steps, device: as `scorelift.generate` has them; what names another recipe or preset does
            not begin with this one's fields.
        seed: the first of each prompt; default the recipe's.
        seeds: runs of each prompt.
        workers: runs at a time, each with its share of the cores, or a GPU; default 1; on a cluster all it has.
        ray: the address of a ray cluster to share the work with; "auto", "local".
        ranked: whether they are to be ranked afterwards (`scorelift.rank`): recipes that cannot be are refused.
        told: is called when a run has begun or ended, with how many have ended, and of how many.

    Returns:
        What became of each run, in order. Runs that failed do not stop the others: see their `error`.

    Raises:
        ScoreliftError: before anything starts, with a line for everything that cannot be run; or if another process
            has the folder.
        KeyboardInterrupt: after Ctrl-C, when all runs under way are saved; the same call continues them.
    """
    folder = Path(out)
    steps, seed = check_asked(recipe, preset, prior, steps, seed)
    check_at_least("seeds", seeds)
    if workers is not None:
        check_at_least("workers", workers)
    check_choice("device", device, ("auto", "cpu", "cuda", "mps"))
    usual = find_recipe(recipe, preset) if isinstance(recipe, str) else recipe
    settings = Settings(recipe=usual, prior=None if prior is None else str(prior), steps=steps, seed=seed, seeds=seeds)
    check_settings(settings)
    orders, complaints = read_orders(source, folder, settings)
    with alone(folder):
        check_orders(orders, complaints, ranked=ranked)
        entries = [Entry.of(order) for order in orders]
        crew = hire(workers=workers, ray=ray, device=device)
        try:
            write_ledger(folder, entries)
            _work_off(crew, folder, orders, entries, device, told)
        finally:
            crew.close()
            for entry in entries:
                entry.state = "stopped" if entry.state == "running" else entry.state
            publish(folder, entries)
    return entries


def publish(folder: Path, entries: Sequence[Entry]) -> None:
    """Write batch.json and index.html."""
    write_ledger(folder, entries)
    write_bytes(folder / "index.html", index_html(folder, entries).encode())


def _work_off(
    crew: Crew, out: Path, orders: Sequence[Order], entries: Sequence[Entry], device: str, told: Listener
) -> None:
    """Let the crew do what is not finished."""
    waiting = deque(i for i, entry in enumerate(entries) if entry.state != "finished")
    ended, stopping = len(entries) - len(waiting), False
    with Interrupt() as interrupt:
        while waiting or crew.busy:
            while waiting and crew.busy < crew.size and not interrupt.asked:
                number = waiting.popleft()
                entries[number].state = "running"
                write_ledger(out, entries)
                crew.start(number, arguments(orders[number], device))
                told(entries[number], ended, len(entries))
            for number, outcome in crew.done():
                entry = entries[number]
                if outcome["state"] == "stopped" and not interrupt.asked:
                    outcome = failed("the run was stopped, and not by this batch; what it had done is saved.")
                entry.state, entry.seconds, entry.error = outcome["state"], outcome["seconds"], outcome["error"]
                ended += entry.state != "stopped"
                write_ledger(out, entries)
                told(entry, ended, len(entries))
            if interrupt.asked and not stopping:
                waiting.clear()
                crew.stop()
                stopping = True
            time.sleep(POLL_S)
        if stopping:
            raise interrupt.error()


def arguments(order: Order, device: str) -> dict[str, Any]:
    """An order as `scorelift.generate` takes it, in plain values."""
    plan = to_json(order.plan)
    return {"prompt": order.prompt, "out": str(order.folder.absolute()), "recipe": plan, "device": device}
