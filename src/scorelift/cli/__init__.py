"""The command line."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..core.errors import ScoreliftError, bad, reason
from ..engine.interrupt import Terminated
from ..version import __version__
from .batches import batch
from .live import studio
from .models import priors, priors_check, priors_get, sample
from .options import MODEL, Command, call, fill
from .plan import plan
from .runs import canvas, export, generate, paint, recipes, render
from .studies import reproduce
from .training import toybox_judge, toybox_refiner, toybox_retriever, toybox_train
from .world import toybox_render, toybox_show, toybox_words
from .yardstick import evaluate, evaluate_prefer, evaluate_prior, rank

COMMANDS: dict[str, Command] = {
    "generate": generate,
    "paint": paint,
    "batch": batch,
    "plan": plan,
    "canvas": canvas,
    "export": export,
    "render": render,
    "studio": studio,
    "sample": sample,
    "recipes": recipes,
    "priors": priors,
    "priors check": priors_check,
    "priors get": priors_get,
    "toybox show": toybox_show,
    "toybox words": toybox_words,
    "toybox render": toybox_render,
    "toybox train": toybox_train,
    "toybox refiner": toybox_refiner,
    "toybox judge": toybox_judge,
    "toybox retriever": toybox_retriever,
    "evaluate": evaluate,
    "evaluate prior": evaluate_prior,
    "evaluate prefer": evaluate_prefer,
    "rank": rank,
    "reproduce": reproduce,
}


_RESUME = " The same command with --resume continues from what is saved."
AGAIN = {
    "generate": _RESUME,
    "paint": _RESUME,
    "canvas": _RESUME,
    "batch": " The same command continues from what is saved.",
}
HELP = ("-h", "--help", "help")


def _usage(group: str = "") -> str:
    """All commands, or those of a group."""
    names = _group(group) if group else list(COMMANDS)
    whose = f"scorelift {group} COMMAND" if group else "scorelift COMMAND"
    lines = [f"usage: {whose} [OPTIONS]", ""]
    lines += [f"  {name:<16} {(COMMANDS[name].__doc__ or '').splitlines()[0]}" for name in names]
    more = "" if group else "; scorelift --version the version"
    return "\n".join([*lines, "", f"{whose} --help lists a command's options{more}."])


def _group(first: str) -> list[str]:
    """Commands of two words that begin with one."""
    return [name for name in COMMANDS if name.startswith(first + " ")]


def _dispatch(argv: list[str]) -> None:
    name = next((n for n in (" ".join(argv[:2]), argv[0]) if n in COMMANDS), None)
    if name is None:
        known = _group(argv[0])
        if known and argv[1:2] and argv[1] in HELP:
            print(_usage(argv[0]))
            return
        remedy = f"See scorelift {argv[0]} --help." if known else "See scorelift --help."
        asked = " ".join(argv[:2]) if known else argv[0]
        raise bad("command", expected=f"one of {', '.join(known or COMMANDS)}", got=asked, remedy=remedy)
    command, rest = COMMANDS[name], argv[len(name.split()) :]
    if _group(name) and rest[:1] and rest[0] in HELP:
        print(_usage(name) + "\n")  # and, below, the options of the group's own command
    if command in (generate, paint, batch, plan):
        command(rest)
        return
    if command is toybox_train:
        from ..toybox.train import TrainConfig

        fill(command, "settings", TrainConfig())
    if command is toybox_refiner:
        from ..toybox.refiner import RefinerPlan

        fill(command, "settings", RefinerPlan())
    if command in (sample, priors_check):
        from ..priors.options import ModelOptions

        fill(command, "model", ModelOptions(), mark=MODEL)
    if command is evaluate:
        from ..evaluate.assets import Evaluation

        fill(command, "settings", Evaluation())
    if command is rank:
        from ..evaluate.evidence import Evidence

        fill(command, "settings", Evidence())
    if command is render:
        from ..export.shots import Shot

        fill(command, "shot", Shot())
    call(command, rest, f"scorelift {name}")


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Within, a warning is a line, without the place in the code that it comes from."""
    own = warnings.formatwarning
    warnings.formatwarning = lambda message, *_, **__: f"warning: {' '.join(str(message).split())}\n"
    try:
        yield
    finally:
        warnings.formatwarning = own


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit code: 0, 1 if runs of a batch failed, 2 for bad input, 130 after Ctrl-C, 143 after SIGTERM.
    """
    # Before torch is loaded: its idle threads are not to keep the renderer's from their cores.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    for library in ("TRANSFORMERS", "DIFFUSERS"):  # their remarks on parts that are not used here
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] == "help":
        words = [*words[1:], "--help"]
    if not words or words[0] in HELP:
        print(_usage())
        return 0
    if words[0] == "--version":
        print(f"scorelift {__version__}")
        return 0
    try:
        with _plain_warnings():
            _dispatch(words)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except ScoreliftError as error:
        print(f"scorelift: {error}", file=sys.stderr)
        return 2
    except (RuntimeError, MemoryError) as error:
        from ..core.memory import ran_out

        if not ran_out(error):
            raise
        told = " ".join(str(error).split())[:160]
        print(f"scorelift: memory ran out ({told}). Ask for fewer or smaller pictures, grids or scenes.",
              file=sys.stderr)  # fmt: skip
        return 2
    except BrokenPipeError:
        return 0
    except OSError as error:
        named = f"{error.filename}: cannot be read or written ({reason(error)})"
        print(f"scorelift: {named if error.filename else reason(error)}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        again = AGAIN.get(words[0], "")
        print(f"\nscorelift: stopped.{again}", file=sys.stderr)
        return 143 if isinstance(stop, Terminated) else 130
    return 0
