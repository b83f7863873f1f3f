"""What a prior takes of time and memory while it is checked, and what is said where it does not fit."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..core.errors import ScoreliftError

if TYPE_CHECKING:
    from ..priors.options import ModelOptions


class Stretches:
    """Seconds of one stretch of work after the other, and on CUDA the most memory that tensors took in each."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.seconds: dict[str, float] = {}
        self.peaks: list[str] = []
        "For people, in GiB."

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Within, a stretch."""
        import torch

        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        yield
        if self.cuda:
            torch.cuda.synchronize()
            self.peaks.append(f"{name} {torch.cuda.max_memory_allocated() / 2**30:.2f}")
        self.seconds[name] = time.perf_counter() - begun


def too_large(prior: str, model: ModelOptions, device: str, error: Exception, *, able: bool) -> ScoreliftError:
    """The error of a prior that a device does not hold.

    Args:
        able: whether its denoiser's weights can leave the card.
    """
    from ..priors.options import computes_bf16
    from ..priors.registry import WITHIN

    helps = []
    if device != "cpu" and model.compile:
        helps.append("--model.offload in place of --model.compile")
    elif device != "cpu" and able and not model.offload:
        helps.append("--model.offload")
    if model.precision != "bf16" and (device != "cuda" or computes_bf16()):
        helps.append("--model.precision bf16")
    if device == "cpu" and model.text_bits is None:
        helps.append("--model.text-bits 8")
    less = f" What needs less: {', '.join(helps)}." if helps and prior not in WITHIN else ""
    told = ". ".join(str(error).split(". ")[:2]).rstrip(".")
    return ScoreliftError(f"memory: {prior} does not fit ({told}).{less}")
