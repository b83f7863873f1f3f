"""Encoded prompts, kept in memory and on disk: text encoders are large, and a prompt is encoded once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ...core.files import write_bytes


def cache_folder() -> Path:
    """$SCORELIFT_CACHE, else scorelift in $XDG_CACHE_HOME or ~/.cache."""
    if set_ := os.environ.get("SCORELIFT_CACHE"):
        return Path(set_)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scorelift"


class PromptCache:
    """A prompt's tensors by what read them: `encoders` names the text encoders' content, `changes` what was added."""

    def __init__(self, encoders: str, changes: str = "", folder: Path | None = None) -> None:
        self.encoders, self.changes = encoders, changes
        self.folder = (folder or cache_folder()) / "prompts"
        self.rows: dict[str, dict[str, Tensor]] = {}

    def _file(self, prompt: str) -> Path:
        name = hashlib.sha256(f"{self.encoders}\0{self.changes}\0{prompt}".encode()).hexdigest()
        return self.folder / f"{name[:32]}.safetensors"

    def __contains__(self, prompt: str) -> bool:
        if prompt in self.rows:
            return True
        try:
            self.rows[prompt] = load_file(self._file(prompt))
        except (OSError, SafetensorError):
            return False
        return True

    def __getitem__(self, prompt: str) -> dict[str, Tensor]:
        return self.rows[prompt]

    def __setitem__(self, prompt: str, tensors: dict[str, Tensor]) -> None:
        self.rows[prompt] = tensors
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._file(prompt), save(tensors))
