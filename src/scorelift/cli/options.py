"""Reading options: a command is a function, its options are the function's arguments, its complaints one sentence."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import wraps
from inspect import signature
from traceback import walk_tb
from typing import Annotated, Any

import tyro

from ..core.errors import ScoreliftError, placed
from .complaints import complaint

Command = Callable[..., None]
FLAT = tyro.conf.arg(name="")
"""Marks an argument whose fields are options of their own, without its name before them."""


MODEL = tyro.conf.arg(name="model")
"""Marks the options of a diffusers model."""


def fill(command: Command, name: str, default: Any, *, mark: Any = FLAT) -> None:
    """Give a command's argument its configuration class, which is imported only when the command runs."""
    command.__annotations__[name] = Annotated[type(default), mark]
    command.__kwdefaults__ = {**(command.__kwdefaults__ or {}), name: default}


def call(command: Command, argv: Sequence[str], prog: str) -> None:
    """Parse the options of a command, then run it; what the parser complains of becomes one sentence.

    Raises:
        ScoreliftError: for options that cannot be parsed, or whose values a configuration refuses.
    """

    @wraps(command)
    def later(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return lambda: command(*args, **kwargs)

    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            action = tyro.cli(later, args=list(argv), prog=prog)
    except SystemExit as stop:
        if not stop.code:
            raise
        places = [
            name
            for name, one in signature(command).parameters.items()
            if one.kind is one.POSITIONAL_ONLY and one.default is one.empty
        ]
        raise complaint(printed.getvalue(), argv, prog, places) from None
    except ScoreliftError as error:
        raise placed(error, _place(error, command)) from error
    action()


def _place(error: ScoreliftError, command: Command) -> str:
    """Where among the options the configuration stands that the parser was building when it was refused.

    The frames of the parser have it.
    """
    frames = (frame.f_locals for frame, _ in walk_tb(error.__traceback__))
    found = [values["field_name_prefix"] for values in frames if values.get("field_name_prefix")]
    first, _, rest = (found or [""])[-1].partition(".")
    flat = FLAT in getattr(command.__annotations__.get(first), "__metadata__", ())
    return rest if flat else found[-1] if found else ""
