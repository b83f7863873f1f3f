"""Sharing compiled work out among threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


def share(work: Callable[[int, int], Any]) -> None:
    """Run `work(part, parts)` for every part, one a thread, on as many threads as torch uses."""
    parts = torch.get_num_threads()
    others = [_pool(parts).submit(work, part, parts) for part in range(1, parts)]
    work(0, parts)
    for other in others:
        other.result()
