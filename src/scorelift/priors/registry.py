"""Priors by name, by folder, by hub id."""

from __future__ import annotations

import importlib.util
from difflib import get_close_matches
from pathlib import Path

from ..core.errors import ScoreliftError, bad
from .base import Prior
from .known import KNOWN, folder_of
from .options import ModelOptions
from .toybox import load_toybox

EMBEDDED = "toybox"


def load_prior(name: str, device: str = "cpu", options: ModelOptions | None = None) -> Prior:
    """Load a prior.

    Args:
        name: `toybox`, the embedded model; a safetensors file that `scorelift toybox train` wrote; a name that
            `scorelift priors` lists; a hub id; or a folder with a diffusers model.
        options: how a diffusers model is loaded and run.

    Raises:
        ScoreliftError: for an unknown name, a model that is not on this machine, or a damaged one.
    """
    if name == EMBEDDED:
        return load_toybox(device=device)
    if name.endswith(".safetensors"):
        return load_toybox(Path(name), device)
    if Path(name).is_dir():
        folder: Path | None = Path(name)
    elif name in KNOWN or (name.count("/") == 1 and name[0] not in "./~"):
        if importlib.util.find_spec("diffusers") is None:
            raise ScoreliftError(f"prior: {name} needs the diffusers library. "
                                 "Install it with pip install 'scorelift[diffusers]'.")  # fmt: skip
        folder = folder_of(name)
        if folder is None:
            raise ScoreliftError(
                f"prior: {name} is not on this machine. Download it with `scorelift priors get {name}`."
            )
    else:
        near = get_close_matches(name, (EMBEDDED, *KNOWN), n=1)
        raise bad("prior", expected=f"{EMBEDDED}, {', '.join(KNOWN)}, a hub id, a folder or a weights file", got=name,
                  remedy=f"Did you mean {near[0]}?" if near else "")  # fmt: skip
    from .diffusers import load_diffusers

    assert folder is not None
    return load_diffusers(folder, device, options, name=name)
