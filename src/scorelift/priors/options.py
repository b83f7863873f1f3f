"""How a prior's network is loaded and run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch

from ..core.errors import bad, check_choice, check_finite
from .added import lora_files, token_file

Precision = Literal["auto", "fp32", "fp16", "bf16"]


def computes_bf16() -> bool:
    """Whether the card at hand computes in bfloat16 itself, and does not emulate it."""
    return torch.cuda.is_bf16_supported(including_emulation=False)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """What can be chosen about a diffusers model; the embedded prior and the exact ones run as they are."""

    precision: Precision = "auto"
    "Of the denoiser: auto is fp16 on a GPU and fp32 elsewhere. Schedules, losses and scenes are always fp32."
    lora: str | None = None
    "LoRA weights (a safetensors file or folder) fused into the denoiser and the text encoders."
    lora_scale: float = 1.0
    "Below 0: away from what they were made for."
    textual_inversion: str | None = None
    "A learned token (a safetensors file); the prompt then may say it."
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
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("text_device", self.text_device, ("same", "cpu"))
        check_finite("lora_scale", self.lora_scale)
        if self.text_bits not in (None, 8):
            raise bad("text_bits", expected="8 or None", got=self.text_bits)
        if self.offload and self.compile:
            raise bad("model.offload", expected="False with --model.compile", got=True,
                      remedy="Layers whose weights come and go are not compiled here.")  # fmt: skip

    def check_files(self) -> None:
        """Raise if what is to be added to the model is not there, is a pickle, or may be one of several."""
        if self.textual_inversion is not None:
            token_file(self.textual_inversion)
        if self.lora is not None:
            lora_files(self.lora)

    def plain(self) -> ModelOptions:
        """The options for another model: without what was made for this one."""
        return replace(self, lora=None, textual_inversion=None)

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
