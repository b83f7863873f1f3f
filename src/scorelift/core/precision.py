"""What devices compute in: doubles where they have none, bfloat16 where it is fast."""

from __future__ import annotations

import torch
from torch import Tensor

WITHOUT_DOUBLES = {"mps"}
"Kinds of device that know no float64."


def wide(x: Tensor) -> Tensor:
    """A tensor in double precision: where it is, or on the CPU if its device knows none."""
    return (x.cpu() if x.device.type in WITHOUT_DOUBLES else x).double()


def computes_bfloat16(device: str) -> bool:
    """Whether a device multiplies bfloat16 matrices faster than float32 ones."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)
