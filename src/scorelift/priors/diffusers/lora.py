"""LoRA weights that a user already has, added to a checkpoint's networks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors import SafetensorError

from ...core.errors import ScoreliftError, bad
from ..known import check_installed
from ..options import ModelOptions
from .checkpoint import Checkpoint
from .lora_names import denoiser, read_lora

WRONG = (OSError, ValueError, AttributeError, KeyError, IndexError, TypeError, RuntimeError, SafetensorError)
"""What the libraries raise for a file that is not what they expect."""


def fuse_lora(checkpoint: Checkpoint, options: ModelOptions, targets: dict[str, Any]) -> None:
    """Add LoRA weights to networks: "unet", "transformer", "text_encoder" or "text_encoder_2".

    Raises:
        ScoreliftError: if a file cannot be read, or fits nothing of the checkpoint.
    """
    check_installed("model.lora: LoRA weights", "peft")
    for path, scale in options.loras():
        _fuse(checkpoint, path, scale, targets)


def _fuse(checkpoint: Checkpoint, path: str, scale: float, targets: dict[str, Any]) -> None:
    """Add the weights of one file or folder."""
    import diffusers

    kind = getattr(diffusers, checkpoint.pipeline)
    if not hasattr(kind, "lora_state_dict"):
        raise bad("model.lora", expected=f"none, for diffusers adds none to a {checkpoint.pipeline}", got=path)
    with _explained(f"{path} cannot be read for {checkpoint.pipeline}"):
        weights = read_lora(checkpoint, path, kind)
    _check_components(checkpoint, path, weights, targets)
    for name, net in targets.items():
        if not any(key.startswith(name + ".") for key in weights):
            continue
        with _explained(f"{path} does not fit the {name} of this {checkpoint.pipeline}; it may be for another model"):
            if name.startswith("text_encoder"):
                kind.load_lora_into_text_encoder(weights, None, net, prefix=name, lora_scale=scale)
                _check_layers(path, name, net, weights)
                _merge(net)
                continue
            told = {"network_alphas": None} if name == "unet" else {}
            getattr(kind, f"load_lora_into_{name}")(weights, **told, **{name: net})
            _check_layers(path, name, net, weights)
            net.fuse_lora(lora_scale=scale)
            net.unload_lora()


def _check_components(checkpoint: Checkpoint, path: str, weights: dict[str, Any], targets: dict[str, Any]) -> None:
    """Raise if weights are for nothing that a checkpoint has; say what else they are for, as the denoiser is loaded."""
    parts = (denoiser(checkpoint), "text_encoder", "text_encoder_2", "text_encoder_3")
    has = [name for name in parts if checkpoint.names(name)]
    held = {key.split(".")[0] for key in weights}
    if not held & set(has):
        raise bad("model.lora", expected=f"weights for a {' or a '.join(has)}", got=f"{path} with none of those")
    if parts[0] in targets and (lost := held.difference(has)):
        warnings.warn(f"model.lora: {path} also changes a {' and a '.join(sorted(lost)[:3])}, which this "
                      f"{checkpoint.pipeline} has not", stacklevel=3)  # fmt: skip


def _merge(net: Any) -> None:
    """Add what a network's LoRA layers learned to the layers beside them, which take their place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(module, name, child.get_base_layer())
    net.delete_adapter(list(net.peft_config))


def _check_layers(path: str, name: str, net: Any, state: dict[str, Any]) -> None:
    """Warn of layers that the network has not."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    said = {key.split(".lora")[0].split("_lora.")[0] for key in state if key.startswith(name + ".") and "lora" in key}
    found = sum(isinstance(module, BaseTunerLayer) for module in net.modules())
    if found < len(said):
        warnings.warn(f"model.lora: {path} changes {len(said)} layers of a {name}, of which this one has {found}; it "
                      "may be for another model", stacklevel=3)  # fmt: skip


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Say `what` where the libraries raise; their own log is still."""
    from diffusers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except WRONG as error:
        why = " ".join(str(error).split())
        raise ScoreliftError(f"model.lora: {what} ({why[:200]}{'...' if len(why) > 200 else ''}).") from error
    finally:
        logging.set_verbosity(verbosity)
