"""Precisions: double where a device has none, single where a file or a caller has half."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import bad

WITHOUT_DOUBLES = {"mps"}
"Kinds of device that know no float64."
HALVES = (torch.float16, torch.bfloat16)


def wide(x: Tensor) -> Tensor:
    """A tensor in double precision: where it is, or on the CPU if its device knows none."""
    return (x.cpu() if x.device.type in WITHOUT_DOUBLES else x).double()


def single(x: Tensor) -> Tensor:
    """A tensor of half precision in single; any other as it is."""
    return x.float() if x.dtype in HALVES else x


def check_not_half(name: str, dtype: torch.dtype) -> None:
    """Raise for half precision."""
    if dtype in HALVES:
        raise bad(name, expected="single precision (torch.float32)", got=dtype,
                  remedy="Leave scenes as they are; a prior may be in half (--model.precision).")  # fmt: skip
