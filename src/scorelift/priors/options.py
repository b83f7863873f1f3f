"""How a prior's network is loaded and run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch

from ..core.errors import bad, check_choice, check_finite
from .added import lora_files, token_file

Precision = Literal["auto", "fp32", "fp16", "bf16"]


def computes_bf16() -> bool:
    """Whether the card at hand computes in bfloat16 itself, and does not emulate it."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


def _several(value: str | float | tuple[Any, ...] | None) -> tuple[Any, ...]:
    """What stands for several: itself, one alone, or none, as the files of older runs have it."""
    return value if isinstance(value, tuple) else () if value is None else (value,)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What can be chosen about a diffusers model; the embedded prior and the exact ones run as they are."""

    precision: Precision = "auto"
    "Of the denoiser: auto is fp16 on a GPU and fp32 elsewhere. Schedules, losses and scenes are always fp32."
    lora: str | tuple[str, ...] | None = ()
    "LoRA weights (safetensors files or folders) fused into the denoiser and the text encoders, one after the other."
    lora_scale: float | tuple[float, ...] = 1.0
    "One for all or one for each. Below 0: away from what they were made for."
    textual_inversion: str | tuple[str, ...] | None = ()
    "Learned tokens (safetensors files); the prompt then may say them."
    text_device: Literal["same", "cpu"] = "same"
    "Where prompts are encoded, once, before the first step: the CPU for a text encoder that does not fit the card."
    text_bits: Literal[8] | None = None
    "8: keep the linear layers of text encoders in eight bits, a quarter of T5's memory; None: as the model has them."
    offload: bool = False
    "Keep the denoiser's weights in CPU memory and bring them to the card layer by layer: for a model too large for it."
    channels_last: bool = False
    "Memory layout of convolutions; faster on recent cards in half precision."
    compile: bool = False
    "torch.compile the denoiser: a minute or more at the start, faster steps then."

    def __post_init__(self) -> None:
        for name in ("lora", "lora_scale", "textual_inversion"):
            object.__setattr__(self, name, _several(getattr(self, name)))
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("text_device", self.text_device, ("same", "cpu"))
        scales, loras = _several(self.lora_scale), len(_several(self.lora))
        check_finite("lora_scale", *scales)
        if len(scales) not in (1, loras):
            raise bad("lora_scale", expected=f"one number, or one for each of {loras} LoRAs", got=len(scales))
        if self.text_bits not in (None, 8):
            raise bad("text_bits", expected="8 or None", got=self.text_bits)
        if self.offload and self.compile:
            raise bad("model.offload", expected="False with --model.compile", got=True,
                      remedy="Layers whose weights come and go are not compiled here.")  # fmt: skip

    def loras(self) -> list[tuple[str, float]]:
        """Files or folders of LoRA weights, and the scale of each."""
        files, scales = _several(self.lora), _several(self.lora_scale)
        return list(zip(files, scales if len(scales) > 1 else scales * len(files), strict=True))

    def tokens(self) -> tuple[str, ...]:
        """Files of learned tokens."""
        return _several(self.textual_inversion)

    def check_files(self) -> None:
        """Raise if what is to be added to the model is not there, is a pickle, or may be one of several."""
        for path in self.tokens():
            token_file(path)
        for path, _ in self.loras():
            lora_files(path)

    def plain(self) -> ModelOptions:
        """The options for another model: without what was made for this one."""
        return replace(self, lora=(), lora_scale=1.0, textual_inversion=())

    def dtype(self, device: torch.device) -> torch.dtype:
        """What the denoiser computes in on a device.

        Raises:
            ScoreliftError: for fp16 on a CPU, or bf16 on a card without it.
        """
        if self.precision == "auto":
            return torch.float16 if device.type == "cuda" else torch.float32
        if self.precision == "fp16" and device.type == "cpu":
            raise bad("precision", expected="fp32 or bf16 on a CPU", got="fp16", remedy="Use --model.precision bf16.")
        if self.precision == "bf16" and device.type == "cuda" and not computes_bf16():
            raise bad("precision", expected="fp16 or fp32 on this card", got="bf16")
        return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[self.precision]
