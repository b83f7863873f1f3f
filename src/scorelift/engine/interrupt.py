"""Ctrl-C heard between steps, so that what is saved is never half a step."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While entered, a first Ctrl-C only sets `asked`; a second one stops at once. An ignored one stays ignored."""

    def __init__(self) -> None:
        self.asked = False
        self._before: Any = None

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __enter__(self) -> Interrupt:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                self._before = signal.signal(signal.SIGINT, self._hear)
            except ValueError:  # not the main thread: Ctrl-C does not come here
                self._before = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
