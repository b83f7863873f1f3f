"""Memory that ran out, under one name: drivers and libraries say it in several ways."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

SAID = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"Of CUDA and MPS; of cuBLAS and cuDNN, whose workspaces are not torch's own."


def ran_out(error: BaseException) -> bool:
    """Whether an error says that a device's memory ran out."""
    if isinstance(error, torch.OutOfMemoryError):
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


def free_memory() -> int | None:
    """Bytes of the computer's own memory that programs may still have; None where the system does not tell."""
    try:
        told = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    except OSError:
        return None
    return int(told[1]) * 1024 if told else None
