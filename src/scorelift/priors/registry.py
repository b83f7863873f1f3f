"""Priors by name, by folder, by hub id."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import torch

from ..core.errors import ScoreliftError, bad
from ..core.files import is_state, weights_format
from .base import Prior
from .fetch import folder_of
from .known import KNOWN, SINGLE, check_installed
from .options import ModelOptions
from .pixels import PixelsPrior
from .refiner import FORMAT as REFINER_FORMAT
from .refiner import ToyboxRefiner, load_refiner
from .toybox import ToyboxPrior, load_toybox

EMBEDDED = ToyboxPrior.name
REFINER = ToyboxRefiner.name
WITHIN = (EMBEDDED, REFINER, PixelsPrior.name)
"Priors that need nothing but this package."
SUFFIX = ".safetensors"


def load_prior(name: str | Path, device: str = "cpu", options: ModelOptions | None = None) -> Prior:
    """Load a prior.

    Args:
        name: `toybox`, the embedded model; `toybox-refiner`, which goes with it; `pixels`, none at all; a safetensors
            file that `scorelift toybox train` or `toybox refiner` wrote; a name that `scorelift priors` lists; a hub
            id; or a folder with a diffusers model.
        options: how a diffusers model is loaded and run.

    Raises:
        ScoreliftError: for an unknown name, a model that is not on this machine, or a damaged one.
    """
    name = str(name)
    if str(device).startswith("cuda") and not torch.cuda.is_available():
        raise bad("device", expected="a CUDA device that torch can see", got="none", remedy="Use device cpu.")
    if name == EMBEDDED:
        return load_toybox(device=device)
    if name == REFINER:
        return load_refiner(device=device)
    if name == PixelsPrior.name:
        return PixelsPrior()
    if name.endswith(SUFFIX):
        if is_state(Path(name)):
            raise bad("prior", expected="a weights file", got=f"{name}, which is a checkpoint of a run or training",
                      remedy="A run's prior is the one that its config.json names.")  # fmt: skip
        load = load_refiner if weights_format(Path(name)) == REFINER_FORMAT else load_toybox
        return load(Path(name), device)
    from .diffusers import load_diffusers

    return load_diffusers(_folder(name), device, options, name=name)


def check_model(options: ModelOptions, *names: str | None) -> None:
    """Raise for options of diffusers models where all priors are embedded ones, which run as they are."""
    changed = [name for name, value in vars(options).items() if value != getattr(ModelOptions(), name)]
    if changed and all(name is None or name in WITHIN or name.endswith(SUFFIX) for name in names):
        asked = ", ".join(f"--model.{name.replace('_', '-')}" for name in changed)
        raise bad("model", expected=f"no such options for the embedded prior {names[0]}", got=asked,
                  remedy="They are for diffusers models.")  # fmt: skip


def sketch_prior(name: str, options: ModelOptions | None = None) -> tuple[Prior, int]:
    """A prior as a GPU would run it, without numbers (device "meta"), and the bytes of what reads its prompts there.

    Raises:
        ScoreliftError: as `load_prior`.
    """
    if name in WITHIN or name.endswith(SUFFIX):
        return load_prior(name, "meta"), 0
    from .diffusers.sketch import sketch_diffusers, text_bytes

    folder = _folder(name)
    return sketch_diffusers(folder, options, name=name), text_bytes(folder, options)


def check_there(name: str) -> None:
    """Raise for a prior that is unknown or not on this machine, without loading it.

    Raises:
        ScoreliftError: as `load_prior`.
    """
    if name in WITHIN:
        return
    if not name.endswith(SUFFIX):
        _folder(name)
    elif not Path(name).exists():
        raise bad("prior", expected="a weights file that exists", got=name)


def _folder(name: str) -> Path:
    """The folder of a diffusers model."""
    if not name.strip():
        raise bad("prior", expected="a prior's name, a folder, a hub id or a weights file", got=name,
                  remedy="`scorelift priors` lists names.")  # fmt: skip
    if Path(name).is_dir():
        folder: Path | None = Path(name)
    elif name in KNOWN or (name.count("/") == 1 and name[0] not in "./~"):
        check_installed("prior: diffusers models", "diffusers")
        folder = folder_of(name)
        if folder is None:
            raise ScoreliftError(
                f"prior: {name} is not on this machine. Download it with `scorelift priors get {name}`."
            )
    else:
        names = (*WITHIN, *KNOWN)
        near = get_close_matches(name, names, n=1)
        remedy = f"Did you mean {near[0]}?" if near else SINGLE if name.endswith((".ckpt", ".pt", ".pth")) else ""
        raise bad(
            "prior", expected=f"{', '.join(names)}, a hub id, a folder or a weights file", got=name, remedy=remedy
        )
    assert folder is not None
    return folder
