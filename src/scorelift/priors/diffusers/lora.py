"""LoRA weights that a user already has, added to a checkpoint's networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from ...core.errors import ScoreliftError, bad
from ..options import ModelOptions


def fuse_lora(kind: Any, options: ModelOptions, targets: dict[str, Any]) -> None:
    """Add LoRA weights to networks: "unet", "transformer", "text_encoder" or "text_encoder_2".

    Raises:
        ScoreliftError: if the file cannot be read, or fits none of them.
    """
    assert options.lora is not None
    path = Path(options.lora)
    try:
        weights = load_file(path) if path.is_file() else str(path)
        found = kind.lora_state_dict(weights, return_alphas=True, use_safetensors=True)
    except (OSError, ValueError, AttributeError, SafetensorError) as error:
        raise ScoreliftError(f"model.lora: {path} cannot be read for {kind.__name__} ({error}).") from error
    state, alphas = found if isinstance(found, tuple) else (found, None)
    for name, net in targets.items():
        if not any(key.startswith(name + ".") for key in state):
            continue
        if name in ("unet", "transformer"):
            more = {} if name == "transformer" else {"network_alphas": alphas}
            getattr(kind, f"load_lora_into_{name}")(state, **more, **{name: net})
            net.fuse_lora(lora_scale=options.lora_scale)
            net.unload_lora()
        else:
            kind.load_lora_into_text_encoder(state, alphas, net, prefix=name, lora_scale=options.lora_scale)
    if "unet" in targets or "transformer" in targets:
        known = [name for name in ("unet", "transformer", "text_encoder") if any(key.startswith(name) for key in state)]
        if not known:
            raise bad("model.lora", expected=f"weights for {', '.join(targets)}", got=f"{path} with none of those")
