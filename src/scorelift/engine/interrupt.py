"""Ctrl-C and SIGTERM heard between steps, so that what is saved is never half a step."""

from __future__ import annotations

import signal
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any


class Terminated(KeyboardInterrupt):
    """Stopped by SIGTERM, as schedulers and containers stop what they run."""


class Interrupt:
    """While entered, a first signal only sets `asked`; a second one stops at once. Ignored ones stay ignored."""

    def __init__(self) -> None:
        self.asked = False
        self._number: int = signal.SIGINT
        self._before: dict[int, Any] = {}

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._number = number
        if self.asked:
            raise self.error()
        self.asked = True

    def error(self) -> KeyboardInterrupt:
        """What to stop with, by the signal that was heard."""
        return Terminated() if self._number == signal.SIGTERM else KeyboardInterrupt()

    def __enter__(self) -> Interrupt:
        for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) is usual:
                with suppress(ValueError):  # not the main thread: signals do not come here
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
        self._before = {}
