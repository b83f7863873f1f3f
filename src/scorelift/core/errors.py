"""The one error type users see, and helpers that phrase it: name, expected, got, remedy."""

from __future__ import annotations

import importlib.util
import math
import operator
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from difflib import get_close_matches


class ScoreliftError(Exception):
    """Bad input or a state the user can mend. The command line prints it without a traceback (exit code 2)."""


class DamagedError(ScoreliftError):
    """A file that cannot be read; `what` says so without a remedy, for those who know a better one."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what = what


class EmptySceneError(ScoreliftError):
    """A scene in which there is nothing to see, so that no mesh can be made of it."""


def bad(name: str, *, expected: str, got: object, remedy: str = "") -> ScoreliftError:
    """Return the error for one bad value, in the house's form: name, expected, got, remedy."""
    shown = repr(got) if isinstance(got, str) else str(got)
    tail = f" {remedy}" if remedy else ""
    return ScoreliftError(f"{name}: expected {expected}, got {shown}.{tail}")


@contextmanager
def within(path: str) -> Iterator[None]:
    """Errors of a part of a configuration are said with the part's place in the whole.

    >>> with within("shape.noise"):
    ...     check_positive("levels", 0)
    Traceback (most recent call last):
    scorelift.core.errors.ScoreliftError: shape.noise.levels: expected a number above 0, got 0.
    """
    try:
        yield
    except ScoreliftError as error:
        raise placed(error, path) from error


def placed(error: ScoreliftError, path: str) -> ScoreliftError:
    """The error of a field, with the place of what has the field before the field's name; not twice.

    >>> print(placed(ScoreliftError("finish.faces: expected more."), "finish"))
    finish.faces: expected more.
    """
    above, _, last = path.rpartition(".")
    if re.match(rf"{re.escape(last)}\b", str(error)):
        path = above
    return type(error)(f"{path}.{error}") if path else error


def reason(error: Exception) -> str:
    """Why the system refused, in its own words."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = re.search(r"([^:]+) \(os error", str(error))  # as safetensors has it
    return (said[1] if said else str(error)).strip()


def check_positive(name: str, value: float) -> None:
    """Raise unless `value` is a finite number above zero."""
    if not (math.isfinite(value) and value > 0):
        raise bad(name, expected="a number above 0", got=value)


def check_finite(name: str, *values: float) -> None:
    """Raise unless the values are numbers, neither infinite nor NaN."""
    for value in values:
        if not math.isfinite(value):
            raise bad(name, expected="a finite number", got=value)


def check_not_negative(name: str, value: float) -> None:
    """Raise unless `value` is a finite number, zero or above."""
    if not (math.isfinite(value) and value >= 0):
        raise bad(name, expected="a number from 0 on", got=value)


def check_at_least(name: str, value: int, least: int = 1) -> None:
    """Raise unless a whole number is no smaller than `least`."""
    if value < least:
        raise bad(name, expected=f"at least {least}", got=value)


def whole(name: str, value: object) -> int:
    """The plain number of a whole one of any library's; True and False are none.

    Raises:
        ScoreliftError: for anything else.
    """
    if not isinstance(value, bool):
        with suppress(TypeError):
            return operator.index(value)  # type: ignore[arg-type]
    raise bad(name, expected="a whole number", got=value)


def check_prompt(prompt: object) -> None:
    """Raise unless something is said: signs alone say nothing."""
    if not isinstance(prompt, str) or not any(letter.isalnum() for letter in prompt):
        raise bad("prompt", expected="a sentence", got=prompt, remedy='For example: "a red mushroom".')


SEEDS = 1 << 32


def check_seed(seed: int, name: str = "seed") -> None:
    """Raise unless a seed has 32 bits: generators take 64, and seeds are multiplied by up to a million on the way."""
    if not 0 <= seed < SEEDS:
        raise bad(name, expected=f"a whole number from 0 to {SEEDS - 1}", got=seed)


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raise unless `low <= value <= high`."""
    if not (math.isfinite(value) and low <= value <= high):
        raise bad(name, expected=f"a number in [{low:g}, {high:g}]", got=value)


def check_choice(name: str, value: object, choices: Iterable[str]) -> None:
    """Raise unless `value` is one of `choices`; suggest the nearest."""
    known = list(choices)
    if not isinstance(value, str):
        raise bad(name, expected="text", got=value)
    if value not in known:
        near = get_close_matches(value, known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else ""
        raise bad(name, expected="one of " + ", ".join(known), got=value, remedy=hint)


def check_span(name: str, span: tuple[float, float], low: float, high: float) -> None:
    """Raise unless low <= span[0] <= span[1] <= high."""
    if not low <= span[0] <= span[1] <= high:
        raise bad(name, expected=f"low <= high within [{low:g}, {high:g}]", got=span)


def check_library(who: str, library: str, extra: str) -> None:
    """Raise unless a library that only `who` needs is installed; `extra` installs it."""
    if importlib.util.find_spec(library) is None:
        raise ScoreliftError(f'{who} needs the {library} library. Install it with '
                             f"pip install '.[{extra}]' in the folder of scorelift's sources.")  # fmt: skip
