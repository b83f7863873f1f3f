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


def share(work: Callable[[int, int], Any], parts: int | None = None) -> list[Any]:
    """What `work(part, parts)` gives for every part, one a thread, on as many threads as torch uses."""
    parts = parts or torch.get_num_threads()
    others = [_pool(parts).submit(work, part, parts) for part in range(1, parts)]
    return [work(0, parts), *(other.result() for other in others)]
