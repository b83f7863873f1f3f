"""LoRA weights as trainers write them, under the names that diffusers reads, with alpha in them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ...core.errors import bad
from ..added import lora_files
from .checkpoint import Checkpoint

OTHERS = {".hada_": "LoHa", ".lokr_": "LoKr", ".dora_scale": "DoRA"}
"""Parts of names in files of other kinds than LoRA."""
PEFT = "base_model.model."
WHOLE = ("unet.", "transformer.", "text_encoder.", "text_encoder_", "lora_")
"""What names begin with that say their component."""
WORDS = ("text_model.", "encoder.", "text_projection.")
"""What a text encoder's names begin with."""
DOWN = re.compile(r"(.+?)[._]lora(_A|_down|\.down|_linear_layer\.down)\.weight")


def read_lora(checkpoint: Checkpoint, path: str, kind: Any) -> dict[str, Tensor]:
    """LoRA weights by their names in diffusers, the component first; what they add is up times down.

    Args:
        path: a file or folder.
        kind: the pipeline's class.

    Raises:
        ScoreliftError: for weights of another kind than LoRA.
    """
    file, *settings = lora_files(path)
    with safe_open(file, "pt") as opened:
        found = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        told = json.loads((opened.metadata() or {}).get("lora_adapter_metadata", "{}"))
    for part, other in OTHERS.items():
        if any(part in name for name in found):
            raise bad(
                "model.lora", expected="LoRA weights of diffusers, peft or kohya's tools", got=f"{file}, a {other}"
            )
    weights = {_whole(checkpoint, name): tensor for name, tensor in found.items()}
    for beside in settings:
        component = next(iter(weights), "").split(".")[0]
        told = {f"{component}.{key}": value for key, value in _settings(beside).items()}
    _multiply_alpha(weights, told)
    blocks = {}
    if checkpoint.names("unet"):  # files of other tools count its blocks another way
        blocks = {"unet_config": SimpleNamespace(layers_per_block=checkpoint.config("unet").get("layers_per_block", 2))}
    weights, *_ = kind.lora_state_dict(weights, return_lora_metadata=True, **blocks)
    return _one_way(weights)


def denoiser(checkpoint: Checkpoint) -> str:
    """The name of the component that denoises."""
    return "unet" if checkpoint.names("unet") else "transformer"


def _settings(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


def _whole(checkpoint: Checkpoint, name: str) -> str:
    """A weight's name with its component's before it, which peft and the oldest files of diffusers leave out."""
    name = name.removeprefix(PEFT)
    if "lora" not in name or name.startswith(WHOLE):
        return name
    if not name.startswith(WORDS):
        return f"{denoiser(checkpoint)}.{name}"
    return f"{'text_encoder' if checkpoint.names('text_encoder') else 'text_encoder_2'}.{name}"


def _multiply_alpha(weights: dict[str, Tensor], told: dict[str, Any]) -> None:
    """Multiply each layer's weights by alpha over rank.

    Args:
        told: peft's settings, the component before their names, for files without alpha beside the weights.
    """
    for name in list(weights):
        if not (found := DOWN.fullmatch(name)):
            continue
        layer, rank = found[1], weights[name].shape[0]
        component, _, module = layer.partition(".")
        alpha = told.get(f"{component}.lora_alpha", rank)
        for pattern, other in (told.get(f"{component}.alpha_pattern") or {}).items():
            alpha = other if re.fullmatch(rf"(.*\.)?({pattern})", module) else alpha
        if told.get(f"{component}.use_rslora"):
            alpha *= math.sqrt(rank)
        if (beside := weights.pop(f"{layer}.alpha", None)) is not None:
            alpha = beside.item()
        for part in (name, f"{layer}.lora_B.bias"):
            if part in weights:
                weights[part] = weights[part] * (alpha / rank)


def _one_way(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same with text encoders' layers named one way; of several, diffusers would read one."""
    from diffusers.utils.state_dict_utils import StateDictType, convert_state_dict_to_diffusers

    words = {name: tensor for name, tensor in weights.items() if name.startswith("text_encoder")}
    others = {name: tensor for name, tensor in weights.items() if name not in words}
    return others | convert_state_dict_to_diffusers(words, StateDictType.DIFFUSERS_OLD)
