"""Encoded prompts, kept in memory and on disk: text encoders are large, and a prompt is encoded once."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
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
        self.cut: dict[str, list[str]] = {}
        "What is to be said of prompts that were too long."

    def _file(self, prompt: str) -> Path:
        name = hashlib.sha256(f"{self.encoders}\0{self.changes}\0{prompt}".encode()).hexdigest()
        return self.folder / f"{name[:32]}.safetensors"

    def __contains__(self, prompt: str) -> bool:
        if prompt in self.rows:
            return True
        try:
            with safe_open(self._file(prompt), "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                self.cut[prompt] = json.loads((file.metadata() or {}).get("cut", "[]"))
        except (OSError, SafetensorError, ValueError):
            return False
        self.rows[prompt] = tensors
        return True

    def __getitem__(self, prompt: str) -> dict[str, Tensor]:
        return self.rows[prompt]

    def keep(self, prompt: str, tensors: dict[str, Tensor], cut: list[str]) -> None:
        """Keep a prompt's tensors, and what is to be said of it if it was too long."""
        self.rows[prompt], self.cut[prompt] = tensors, cut
        self.folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._file(prompt), save(tensors, {"cut": json.dumps(cut)}))
