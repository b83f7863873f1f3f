"""What a person sees while waiting: one line with stage, step and time left."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Prints to a stream; on a terminal the line renews itself, elsewhere a line is printed now and then."""

    def __init__(self, total: int, done: int = 0, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self.stream = stream or sys.stderr
        self.quiet = quiet
        self.live = self.stream.isatty()
        self.total, self.first, self.done = total, done, done
        self.started = self.shown = time.monotonic()
        self.width = 0

    @property
    def seconds_left(self) -> float | None:
        """Estimated from the steps taken so far but the first, in which passes are compiled; None before the second."""
        taken = self.done - self.first - 1
        return (time.monotonic() - self.started) / taken * (self.total - self.done) if taken > 0 else None

    def step(self, text: str) -> None:
        """Count one step and show `text` with it."""
        self.done += 1
        now = time.monotonic()
        if self.done == self.first + 1:
            self.started = now
        if now - self.shown < (0.2 if self.live else 10):
            return
        self.shown = now
        share = f"{self.done}/{self.total}"
        left = self.seconds_left
        self._write(f"{share:>11}  {'   ?' if left is None else f'{left:4.0f}'} s left  {text}")

    def say(self, text: str) -> None:
        """Show a line of its own."""
        if self.live:
            self._write(text)
            self._end()
        elif not self.quiet:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """End the renewed line."""
        self._end()

    def _write(self, line: str) -> None:
        if self.quiet:
            return
        if self.live:
            print("\r" + line.ljust(self.width), end="", file=self.stream, flush=True)
            self.width = len(line)
        else:
            print(line, file=self.stream, flush=True)

    def _end(self) -> None:
        if self.live and self.width and not self.quiet:
            print(file=self.stream, flush=True)
            self.width = 0
