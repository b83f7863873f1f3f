"""Frozen dataclasses to JSON and back, so that a run can be repeated from the file it wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .errors import bad, check_finite


def to_json(value: Any) -> Any:
    """Plain JSON values of a configuration; each dataclass carries its class name under "type"."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, dict):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return value


def check_numbers(config: Any, name: str = "") -> None:
    """Raise for a number in a configuration, at any depth, that is infinite or NaN; `name` is said before the field's.

    >>> check_numbers({"cameras": {"distance": float("nan")}}, "stage")
    Traceback (most recent call last):
    scorelift.core.errors.ScoreliftError: stage.cameras.distance: expected a finite number, got nan.
    """
    if dataclasses.is_dataclass(config):
        config = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    if isinstance(config, dict):
        for key, value in config.items():
            check_numbers(value, f"{name}.{key}" if name else key)
    elif isinstance(config, list | tuple):
        for value in config:
            check_numbers(value, name)
    elif isinstance(config, float):
        check_finite(name, config)


def from_json(value: Any, classes: Iterable[type]) -> Any:
    """Rebuild what `to_json` wrote; lists become tuples.

    Raises:
        ScoreliftError: for a class or field that does not exist.
    """
    known = {cls.__name__: cls for cls in classes}

    def rebuild(item: Any) -> Any:
        if isinstance(item, list):
            return tuple(rebuild(part) for part in item)
        if not isinstance(item, dict):
            return item
        if "type" not in item:
            return {key: rebuild(part) for key, part in item.items()}
        if item["type"] not in known:
            raise bad("configuration", expected=f"one of {', '.join(known)}", got=item["type"])
        cls = known[item["type"]]
        fields = {field.name for field in dataclasses.fields(cls)}
        given = {key: rebuild(part) for key, part in item.items() if key != "type"}
        if unknown := set(given) - fields:
            raise bad(f"{cls.__name__}", expected=f"fields {', '.join(sorted(fields))}", got=", ".join(sorted(unknown)))
        return cls(**given)

    return rebuild(value)
