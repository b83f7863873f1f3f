"""Painting while the camera moves and when it rests: quick pictures first, then the fine one."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import Event, Thread

REST_S = 0.25
"A camera that has not moved for so long rests."
QUICK_S = 0.08
"What a picture on the way may take ..."
FINE_S = 4.0
"... and one at rest."
COARSEST = 64


class Pace:
    """How large pictures may be, by what the last ones took."""

    def __init__(self) -> None:
        self._per_pixel = QUICK_S / 128**2

    def took(self, side: int, seconds: float) -> None:
        """Learn from a picture."""
        self._per_pixel = 0.5 * self._per_pixel + 0.5 * seconds / side**2

    def side(self, cap: int, seconds: float = QUICK_S) -> int:
        """Pixels of the longer side, at most `cap`, of a picture that takes so long.

        >>> Pace().side(512), Pace().side(100), Pace().side(512, FINE_S)
        (128, 100, 512)
        """
        side = math.sqrt(seconds / max(self._per_pixel, 1e-12))
        return min(cap, max(COARSEST, 8 * round(side / 8)))


class Painter:
    """A thread that paints whenever something has changed: at once in few pixels, and in all when nothing changes.

    Args:
        paint: makes a picture with so many pixels along its longer side; it is told whether that one is to stay.
        cap: the most pixels, asked before each picture.
    """

    def __init__(self, paint: Callable[[int, bool], None], cap: Callable[[], int], *, rest_s: float = REST_S) -> None:
        self._paint, self._cap, self._rest_s = paint, cap, rest_s
        self._pace, self._changed, self._closed = Pace(), Event(), False
        self._thread = Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begin, with a first picture."""
        self._changed.set()
        self._thread.start()

    def changed(self) -> None:
        """Something is to be seen otherwise than it was."""
        self._changed.set()

    def close(self, wait_s: float = 5.0) -> None:
        """Stop after the picture that is being painted."""
        self._closed = True
        self._changed.set()
        if self._thread.is_alive():
            self._thread.join(wait_s)

    def _work(self) -> None:
        owed = False
        while True:
            moving = self._changed.wait(self._rest_s if owed else None)
            if self._closed:
                return
            self._changed.clear()
            cap = self._cap()
            quick, fine = self._pace.side(cap), self._pace.side(cap, FINE_S)
            side = quick if moving else fine
            begun = time.monotonic()
            self._paint(side, side >= fine)
            self._pace.took(side, time.monotonic() - begun)
            owed = side < fine
