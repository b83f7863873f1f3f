"""How passes are compiled by numba: at first use, without Python's lock, kept on disk.

Division follows numpy: by zero it gives an infinity. Python's way, an exception, is a branch, and a loop with a branch
out of it is not spread over the lanes of a CPU. Numba notices changes only of the file in which a function stands:
whoever changes one that is inlined in other files touches those too.
"""

from __future__ import annotations

from typing import Any

from numba import njit

FAST = {"contract", "reassoc", "arcp", "afn", "nsz"}
"All of fastmath but the promises that nothing is infinite or NaN."

exact: Any = njit(cache=True, nogil=True, error_model="numpy")
"""Decorator: as written."""
fast: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST)
"""Decorator: sums may be reordered, and quotients and functions approximate, to single precision."""
inlined: Any = njit(cache=True, nogil=True, error_model="numpy", fastmath=FAST, inline="always")
"""The same, a part of whoever calls it."""
