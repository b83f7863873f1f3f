"""One run of a batch: what a process of its own does, here or on a cluster's machines."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from _thread import interrupt_main
from contextlib import suppress
from pathlib import Path
from threading import Thread, main_thread
from typing import Any

from ..core.errors import ScoreliftError


def trace_of(folder: Path) -> Path:
    """Where the traceback of an error that nobody foresaw is left: beside the run's folder, which is the run's own."""
    return folder.with_name(f"{folder.name}.error.txt")


def work(order: dict[str, Any]) -> dict[str, Any]:
    """Make one run, or continue it.

    Args:
        order: arguments of `scorelift.generate`, as JSON has them; the recipe as config.json does.

    Returns:
        "state" ("finished", "failed" or "stopped"), "seconds", and "error", a sentence.
    """
    from ..core.files import write_bytes
    from ..engine.generate import generate
    from ..recipes import recipe_from_json

    trace = trace_of(Path(order["out"]))
    with suppress(OSError):
        trace.unlink()
    begun, state, error = time.monotonic(), "finished", None
    try:
        generate(**order | {"recipe": recipe_from_json(order["recipe"], "recipe")}, resume=True, quiet=True)
    except ScoreliftError as wrong:
        state, error = "failed", str(wrong)
    except KeyboardInterrupt:
        state = "stopped"
    except Exception as wrong:  # whatever it is, the other runs go on
        with suppress(ScoreliftError):
            write_bytes(trace, traceback.format_exc().encode())
        state, error = "failed", f"{type(wrong).__name__}: {wrong}"
    return {"state": state, "seconds": round(time.monotonic() - begun, 2), "error": error}


def main() -> None:
    """Read an order from the first line of the input, write what came of it; stop when the input ends.

    The input ends when the batch closes it, and when the batch itself is no more.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a batch in the background does not hear
    order = json.loads(sys.stdin.readline())
    Thread(target=_listen, daemon=True).start()
    said = json.dumps(work(order))
    sys.stdout.write("\n" + said + "\n")
    sys.stdout.flush()


def _listen() -> None:
    """Wait for the input's end, past Python's own reader, whose lock would be held when the process ends."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main_thread().ident or 0, signal.SIGINT)  # wakes it from whatever it waits for
    else:
        interrupt_main(signal.SIGINT)


if __name__ == "__main__":
    main()
