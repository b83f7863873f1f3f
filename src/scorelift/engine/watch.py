"""How long a run takes, over all of its sittings."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Watch:
    """Seconds on the clock of the whole run and of its parts, and of the processor in its stages.

    Its state goes with checkpoints: what a resumed run does again is counted once, the time between sittings not.
    """

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.processor: dict[str, float] = {}
        self._before, self._started = 0.0, time.monotonic()
        self._at: tuple[str, float, float] | None = None

    @property
    def seconds(self) -> float:
        """Of the whole run up to now."""
        return self._before + time.monotonic() - self._started

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done inside for a part of the run; for one that was begun earlier it adds up."""
        self._at = name, time.monotonic(), time.process_time()
        try:
            yield
        finally:
            self.parts, self.processor = self._counted()
            self._at = None

    def _counted(self) -> tuple[dict[str, float], dict[str, float]]:
        """Seconds of all parts, the one at work included."""
        parts, processor = dict(self.parts), dict(self.processor)
        if self._at is not None:
            name, clock, worked = self._at
            parts[name] = parts.get(name, 0.0) + time.monotonic() - clock
            processor[name] = processor.get(name, 0.0) + time.process_time() - worked
        return parts, processor

    def state(self) -> dict[str, Any]:
        """What there is to count from when the run goes on."""
        parts, processor = self._counted()
        return {"seconds": self.seconds, "parts": parts, "processor": processor}

    def load(self, state: dict[str, Any]) -> None:
        """Count from a state on; from none in a checkpoint of an earlier version."""
        self._before = state.get("seconds", 0.0)
        self.parts, self.processor = dict(state.get("parts", {})), dict(state.get("processor", {}))
