"""Files that a user adds to a model: LoRA weights and learned tokens."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import ScoreliftError, bad
from .known import tensors_conversion
from .variants import PICKLES, SAFE

PEFTS, SETTINGS = "adapter_model.safetensors", "adapter_config.json"
USUAL = ("pytorch_lora_weights.safetensors", PEFTS)
"""What diffusers and peft call the LoRA weights in a folder."""


def lora_files(path: str) -> list[Path]:
    """The LoRA weights that a file or folder holds, and, if they are peft's, its settings beside them.

    Raises:
        ScoreliftError: if there are none, only pickles, or several.
    """
    file = Path(path)
    if not file.exists():
        raise bad("model.lora", expected="a file or folder", got=path)
    if file.is_dir():
        file = _in_folder(file)
    _check_safe("model.lora", file)
    settings = file.parent / SETTINGS
    return [file, settings] if file.name == PEFTS and settings.exists() else [file]


def token_file(path: str) -> Path:
    """The file of a learned token.

    Raises:
        ScoreliftError: if it is not there, or a pickle.
    """
    file = Path(path)
    if file.is_file():
        _check_safe("model.textual_inversion", file)
    if not (file.is_file() and file.suffix == SAFE):
        raise bad("model.textual_inversion", expected="a safetensors file", got=path)
    return file


def _in_folder(folder: Path) -> Path:
    names = sorted(file.name for file in folder.iterdir())
    for suffixes in (SAFE, PICKLES):
        found = [name for name in names if name.endswith(suffixes)]
        found = [name for name in found if name in USUAL] or found
        if len(found) > 1:
            raise bad("model.lora", expected="one file of LoRA weights", got=f"{folder} with {', '.join(found[:4])}",
                      remedy="Name the file.")  # fmt: skip
        if found:
            return folder / found[0]
    raise bad("model.lora", expected=f"a folder with {' or '.join(USUAL)}", got=str(folder))


def _check_safe(name: str, file: Path) -> None:
    if file.suffix.lower() in PICKLES:
        raise ScoreliftError(f"{name}: {file} is a pickle, which can run code. {tensors_conversion(file)}")
