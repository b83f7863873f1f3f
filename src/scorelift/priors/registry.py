"""Priors by name."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import check_choice
from .base import Prior
from .toybox import load_toybox

PRIORS = {"toybox": "the embedded model of toy objects: 64 x 64 pixels, no network, no GPU"}


def load_prior(name: str, device: str = "cpu") -> Prior:
    """Load a prior by name, or a weights file that `scorelift toybox train` wrote.

    Raises:
        ScoreliftError: for an unknown name or a damaged file.
    """
    if name.endswith(".safetensors"):
        return load_toybox(Path(name), device)
    check_choice("prior", name, PRIORS)
    return load_toybox(device=device)
