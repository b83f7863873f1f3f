"""Frozen dataclasses to JSON and back, so that a run can be repeated from the file it wrote."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_type_hints

from .errors import bad


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


def parts_of(*roots: type) -> dict[type, None]:
    """Configuration classes, and those that their fields may hold, in the order they are met."""
    found: dict[type, None] = {}

    def visit(kind: Any) -> None:
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in found:
            found[kind] = None
            for hint in get_type_hints(kind).values():
                visit(hint)
        for inner in get_args(kind):
            visit(inner)

    for root in roots:
        visit(root)
    return found


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted names, as options have them.

    >>> leaves({"type": "A", "seed": 0, "field": {"type": "B", "steps": 3}})
    {'type': 'A', 'seed': 0, 'field.type': 'B', 'field.steps': 3}
    """
    value = to_json(value)
    if not isinstance(value, dict):
        return {name: value}
    inner = (leaves(item, f"{name}.{key}" if name else key) for key, item in value.items())
    return {key: item for part in inner for key, item in part.items()}


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
            raise bad("configuration", expected=f"one of {', '.join(known)}", got=item["type"],
                      remedy="A class of your own is made known by scorelift.recipes.register.")  # fmt: skip
        cls = known[item["type"]]
        fields = {field.name for field in dataclasses.fields(cls)}
        given = {key: rebuild(part) for key, part in item.items() if key != "type"}
        if unknown := set(given) - fields:
            raise bad(f"{cls.__name__}", expected=f"fields {', '.join(sorted(fields))}", got=", ".join(sorted(unknown)))
        return cls(**given)

    return rebuild(value)
