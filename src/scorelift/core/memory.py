"""Memory that ran out, under one name: drivers and libraries say it in several ways."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

SAID = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
        "can't allocate memory", "not enough memory")  # fmt: skip
"Of CUDA and MPS; of cuBLAS and cuDNN, whose workspaces are not torch's own; of the CPU."


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a device's memory ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in SAID)


@contextmanager
def memory_errors() -> Iterator[None]:
    """Within, whatever says that memory ran out is raised as `torch.OutOfMemoryError`."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or not ran_out(error):
            raise
        raise torch.OutOfMemoryError(str(error)) from error


def free_bytes() -> int | None:
    """Memory that can still be had, else the machine's whole; None where the system tells neither."""
    with suppress(OSError):
        if told := re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="utf-8")):
            return int(told[1]) * 1024
    with suppress(AttributeError, OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def device_bytes(device: torch.device) -> int | None:
    """Memory of a GPU that tensors can still have; None where the device does not tell."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + kept
