"""Files that are whole or absent: atomic writes, and nested state as safetensors + JSON (never pickle)."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from .errors import DamagedError, ScoreliftError, bad, reason
from .precision import single

_TENSOR = "__tensor__"
_KEYS = "__pairs__"
_TUPLE = "__tuple__"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name to write to; renamed to `path` when all went well, removed when not.

    Raises:
        ScoreliftError: if the file cannot be written.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.unlink(missing_ok=True)
        temporary.touch()
        mode = temporary.stat().st_mode
        yield temporary
        if temporary.stat().st_mode != mode:  # safetensors' own writer lets nobody else read
            with suppress(OSError):
                temporary.chmod(mode)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise ScoreliftError(f"{path}: cannot be written ({reason(error)}).") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_out(path: Path, suffix: str = "", name: str = "out") -> None:
    """Raise if a file can never be written there, so that it is told before the work; its folder need not exist yet.

    Args:
        suffix: the only one its name may end in; "": any.
    """
    if path.is_dir():
        raise bad(name, expected="a file to write", got=f"{path}, which is a folder")
    if suffix and path.suffix.lower() != suffix:
        raise bad(name, expected=f"a name ending in {suffix}", got=str(path))
    check_folder(path.parent, name)


def check_folder(path: Path, name: str = "out") -> None:
    """Raise if a folder is not there and cannot be made, or cannot be written to."""
    while not path.exists() and path != path.parent:
        path = path.parent
    if not path.is_dir():
        raise bad(name, expected="a path through folders", got=f"{path}, which is a file")
    if not os.access(path, os.W_OK | os.X_OK):
        raise bad(name, expected="a folder that can be written", got=str(path))


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it.

    Raises:
        ScoreliftError: if it cannot be written.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, indented, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Save nested dicts, lists and tuples of tensors and plain values in one safetensors file, atomically.

    The structure and plain values go into the file's metadata as JSON; tensors keep dtype and bits.
    """
    tensors: dict[str, Tensor] = {}

    def pack(value: Any, name: str) -> Any:
        if isinstance(value, Tensor):
            tensors[name] = value.detach().contiguous().cpu().clone()
            return {_TENSOR: name}
        if isinstance(value, Mapping):
            if all(isinstance(key, str) for key in value):
                return {key: pack(item, f"{name}.{key}") for key, item in value.items()}
            return {_KEYS: [[key, pack(item, f"{name}.{key}")] for key, item in value.items()]}
        if isinstance(value, list | tuple):
            items = [pack(item, f"{name}.{i}") for i, item in enumerate(value)]
            return items if isinstance(value, list) else {_TUPLE: items}
        if value is None or isinstance(value, bool | int | float | str):
            return value
        raise TypeError(f"{name}: cannot save a {type(value).__name__}")

    said = json.dumps(pack(state, "state"))
    sums = {name: checksum(tensor) for name, tensor in tensors.items()}
    metadata = {"state": said, "sums": json.dumps({**sums, "": zlib.crc32(said.encode())})}
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata)


def checksum(tensor: Tensor) -> list[str | int]:
    """A tensor's kind of numbers, and the CRC-32 of their bits."""
    return [str(tensor.dtype), zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data)]


def check_sums(tensors: Mapping[str, Tensor], said: str, sums: Mapping[str, Any]) -> None:
    """Raise ValueError for numbers that are not as they were written; those of another kind somebody has converted."""
    if not sums:  # versions until 2026-11 wrote none
        return
    if zlib.crc32(said.encode()) != sums.get("") or tensors.keys() - sums.keys():
        raise ValueError("what it says of its tensors has changed")
    for name, tensor in tensors.items():
        kind, expected = sums[name]
        if kind == str(tensor.dtype) and checksum(tensor)[1] != expected:
            raise ValueError(f"the numbers of {name} have changed")


def load_state(path: Path, device: str | torch.device = "cpu", *, widen: bool = False) -> dict[str, Any]:
    """Load what `save_state` wrote.

    Args:
        widen: whether tensors of half precision become single.

    Raises:
        DamagedError: if the file is truncated or damaged, down to a single bit.
        ScoreliftError: if it is missing, or not one of ours.
    """

    def unpack(value: Any) -> Any:
        if isinstance(value, list):
            return [unpack(item) for item in value]
        if not isinstance(value, dict):
            return value
        if _TENSOR in value:
            return tensors[value[_TENSOR]]
        if _TUPLE in value:
            return tuple(unpack(item) for item in value[_TUPLE])
        if _KEYS in value:
            return {key: unpack(item) for key, item in value[_KEYS]}
        return {key: unpack(item) for key, item in value.items()}

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if "state" not in metadata:
                raise ScoreliftError(f"{path}: expected a state file of scorelift, got other safetensors.")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        check_sums(tensors, metadata["state"], json.loads(metadata.get("sums", "{}")))
        tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
        if widen:
            tensors = {name: single(tensor) for name, tensor in tensors.items()}
        return unpack(json.loads(metadata["state"]))
    except FileNotFoundError as error:
        raise ScoreliftError(f"{path}: no such file.") from error
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise DamagedError(
            f"{path}: damaged ({error}).", "Remove it: an older one takes its place, or the run begins anew."
        ) from error


_SCALE = ".scale"


def save_weights(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any], *, bits: int = 16) -> None:
    """Write a network's tensors with a note, whole or not at all.

    With 16 bits in half precision; with 8, matrices and kernels as int8 and a scale for each row, the rest in half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if bits == 8 and tensor.ndim >= 2:
            kept[name], kept[name + _SCALE] = eight_bits(tensor.detach().float())
        else:
            kept[name] = tensor.detach().half().contiguous()
    with replacing(path) as temporary:
        save_file(kept, temporary, {"about": json.dumps(about)})


def eight_bits(x: Tensor) -> tuple[Tensor, Tensor]:
    """A tensor (rows, ...) as int8 and a float32 scale for each row, so that their product is nearest to it."""
    largest = x.abs().flatten(1).amax(1)
    scale = torch.where(largest > 0, largest / 127, 1.0)
    return (x / scale.view(-1, *[1] * (x.ndim - 1))).round().to(torch.int8).contiguous(), scale


def load_weights(path: Path, what: str, remedy: str, *, foreign: str = "") -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A network's tensors in float32 and the note that came with them.

    Args:
        foreign: the remedy for a file that is whole, but somebody else's.

    Raises:
        ScoreliftError: if the file is missing, damaged or without a note.
    """
    try:
        with safe_open(path, framework="pt") as file:
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            note = (file.metadata() or {}).get("about")
    except FileNotFoundError as error:
        raise ScoreliftError(f"{what}: no weights at {path}. {remedy}") from error
    except (SafetensorError, OSError) as error:
        raise ScoreliftError(f"{what}: {path} is damaged ({error}). {remedy}") from error
    if note is None:
        raise bad(what, expected="weights that scorelift wrote", got=str(path), remedy=foreign or remedy)
    tensors = {name: t.float() for name, t in kept.items() if not name.endswith(_SCALE)}
    for name, t in tensors.items():
        if kept[name].dtype == torch.int8:
            tensors[name] = t * kept[name + _SCALE].view(-1, *[1] * (t.ndim - 1))
    return tensors, json.loads(note)


def is_state(path: Path) -> bool:
    """Whether a file is one that `save_state` wrote."""
    try:
        with safe_open(path, framework="pt") as file:
            return "state" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def weights_format(path: Path) -> str | None:
    """What a weights file says it is; None for one that says nothing, or cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return json.loads((file.metadata() or {}).get("about", "{}")).get("format")
    except (SafetensorError, OSError):
        return None
