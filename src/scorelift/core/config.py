"""Frozen dataclasses to JSON and back, so that a run can be repeated from the file it wrote."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from .errors import bad, check_finite, within


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


def with_values(config: dict[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """What `to_json` wrote, with other values for some fields by their dotted names, hyphens for underscores or not.

    Raises:
        ScoreliftError: for a name that no field has.

    >>> with_values({"seed": 0, "field": {"type": "B", "cfg_scale": 3}}, {"field.cfg-scale": 5})
    {'seed': 0, 'field': {'type': 'B', 'cfg_scale': 5}}
    """
    config = copy.deepcopy(config)
    for name, value in values.items():
        *path, last = name.replace("-", "_").split(".")
        node: Any = config
        for part in path:
            node = node.get(part) if isinstance(node, dict) else None
        if last == "type" or not isinstance(node, dict) or last not in node:
            known = [option_of(leaf) for leaf in leaves(config) if leaf.split(".")[-1] != "type"]
            near = get_close_matches(name.replace("_", "-"), known, n=1)
            raise bad(name, expected="a field of the recipe", got="none of that name",
                      remedy=f"Did you mean {near[0]!r}?" if near else "")  # fmt: skip
        node[last] = value
    return config


def option_of(name: str) -> str:
    """The command line's word for one of the `leaves` of a recipe.

    >>> option_of("type"), option_of("field.cfg_scale"), option_of("field.scene.type")
    ('recipe', 'field.cfg-scale', 'field.scene')
    """
    return "recipe" if name == "type" else name.removesuffix(".type").replace("_", "-")


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


def from_json(value: Any, classes: Iterable[type], anywhere: Collection[type] = ()) -> Any:
    """Rebuild what `to_json` wrote; lists become tuples. Classes `anywhere` may stand in any field.

    Raises:
        ScoreliftError: for a class or field that does not exist, or a value of another kind than its field's.
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
            raise bad("type", expected=f"one of {', '.join(known)}", got=item["type"],
                      remedy="A class of your own is made known by scorelift.recipes.register.")  # fmt: skip
        cls = known[item["type"]]
        fields = {field.name for field in dataclasses.fields(cls)}
        given = {}
        for key, part in item.items():
            if key != "type":
                with within(key):
                    given[key] = rebuild(part)
        if unknown := set(given) - fields:
            raise bad(f"{cls.__name__}", expected=f"fields {', '.join(sorted(fields))}", got=", ".join(sorted(unknown)))
        for name, hint in _hints(cls).items():
            if name in given and type(given[name]) not in anywhere and not fits(given[name], hint):
                raise bad(name, expected=_said(hint), got=_said(given[name]))
        return cls(**given)

    return rebuild(value)


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def _said(value: Any) -> str:
    return re.sub(r"\b(\w+\.)+", "", value.__name__ if isinstance(value, type) else str(value))[:80]


def fits(value: Any, hint: Any) -> bool:
    """Whether a value is of an annotated kind; whole numbers do for others and back.

    >>> fits(3, float), fits((1.0, 2), tuple[float, ...]), fits("a", int | None), fits("a", Literal["a", "b"])
    (True, True, False, True)
    """
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, part) for part in parts)
    if origin is Literal:
        return value in parts
    if origin is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else list(parts)
        return len(kinds) == len(value) and all(map(fits, value, kinds))
    if hint in (int, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return not isinstance(hint, type) or isinstance(value, hint)
