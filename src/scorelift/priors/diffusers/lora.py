"""LoRA weights that a user already has, added to a checkpoint's networks."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError

from ...core.errors import ScoreliftError, bad
from ..known import check_installed
from ..options import ModelOptions
from .checkpoint import Checkpoint

WRONG = (OSError, ValueError, AttributeError, KeyError, IndexError, TypeError, RuntimeError, SafetensorError)
"""What the libraries raise for a file that is not what they expect."""


def fuse_lora(checkpoint: Checkpoint, options: ModelOptions, targets: dict[str, Any]) -> None:
    """Add LoRA weights to networks: "unet", "transformer", "text_encoder" or "text_encoder_2".

    Raises:
        ScoreliftError: if the file cannot be read, or fits none of them.
    """
    import diffusers

    assert options.lora is not None
    path, kind = Path(options.lora), getattr(diffusers, checkpoint.pipeline)
    check_installed("model.lora: LoRA weights", "peft")
    if not hasattr(kind, "lora_state_dict"):
        raise bad("model.lora", expected=f"none, for diffusers adds none to a {checkpoint.pipeline}", got=str(path))
    blocks = {}
    if checkpoint.names("unet"):  # files of other tools count its blocks another way
        blocks = {"unet_config": SimpleNamespace(layers_per_block=checkpoint.config("unet").get("layers_per_block", 2))}
    with _explained(f"{path} cannot be read for {checkpoint.pipeline}"):
        # Alpha is in the metadata of diffusers' own files, beside the weights in others.
        state, *more = kind.lora_state_dict(str(path), use_safetensors=True, return_lora_metadata=True, **blocks)
    metadata, alphas = more[-1], more[0] if len(more) > 1 else None
    for name, net in targets.items():
        if not any(key.startswith(name + ".") for key in state):
            continue
        with _explained(f"{path} does not fit the {name} of this {checkpoint.pipeline}; it may be for another model"):
            if name.startswith("text_encoder"):
                kind.load_lora_into_text_encoder(
                    state, alphas, net, prefix=name, lora_scale=options.lora_scale, metadata=metadata
                )
                _merge(net)
                continue
            told = {"network_alphas": alphas} if name == "unet" else {}
            getattr(kind, f"load_lora_into_{name}")(state, **told, **{name: net}, metadata=metadata)
            _check_layers(path, name, net, state)
            net.fuse_lora(lora_scale=options.lora_scale)
            net.unload_lora()
    for name in {"unet", "transformer"} & targets.keys():
        if not any(key.startswith((name + ".", "text_encoder")) for key in state):
            raise bad("model.lora", expected=f"weights for a {name} or text encoders", got=f"{path} with none of those")


def _merge(net: Any) -> None:
    """Add what a network's LoRA layers learned to the layers beside them, which take their place."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, BaseTunerLayer):
                child.merge()
                setattr(module, name, child.get_base_layer())


def _check_layers(path: Path, name: str, net: Any, state: dict[str, Any]) -> None:
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
