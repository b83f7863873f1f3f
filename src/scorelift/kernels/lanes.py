"""Functions in single precision that a compiler spreads over the lanes of a CPU: polynomials, no branches, no calls.

For loops over arrays in compiled passes, where the library's `exp` and `log` would be called once for each number.
Errors are relative, of the order of single precision's own; what is not a number stays so.

Ref: exp by powers of two, as in Cephes (Moshier); coefficients are least maximum errors on their ranges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

FAST = {"contract", "reassoc", "arcp", "afn", "nsz"}
"All of fastmath but the promises that nothing is infinite or NaN."
_NONE, _HALF, _ONE = (np.float32(value) for value in (0, 0.5, 1))
_LOG2E, _LEAST, _MOST = np.float32(1.4426950408889634), np.float32(-126), np.float32(126)
_BIAS, _MANTISSA = np.int32(127), np.int32(23)
# 2^f on [-.5, .5]; log(1 + y) / y and (1 - exp(-t)) / t on [0, 1]
_E0, _E1, _E2, _E3, _E4, _E5 = (
    np.float32(c) for c in (1.0000001, 0.69314694, 0.2402212, 0.055507135, 0.009675541, 0.0013276467)
)  # fmt: skip
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8 = (
    np.float32(c) for c in (0.99999994, -0.49999493, 0.33319095, -0.24842978, 0.19105989, -0.13663207, 0.0782255,
                            -0.02950496, 0.0052326247)
)  # fmt: skip
_S0, _S1, _S2, _S3, _S4, _S5 = (
    np.float32(c) for c in (0.99999994, -0.49999458, 0.16660522, -0.04140659, 0.007823703, -0.00090715694)
)  # fmt: skip


@intrinsic
def _as_float(_: Any, bits: Any) -> Any:
    """A float32 of given bits."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), build


@intrinsic
def _as_whole(_: Any, number: Any) -> Any:
    """A float32 without its fraction, as int32."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fptosi(args[0], ir.IntType(32))

    return types.int32(types.float32), build


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def exp(x):
    """exp(x); from 2^-126 to 2^126."""
    z = min(max(x * _LOG2E, _LEAST), _MOST)
    k = _as_whole(z + (_HALF if z >= _NONE else -_HALF))  # type: ignore[call-arg, var-annotated]
    f = z - np.float32(k)
    return (_E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * _E5))))) * _as_float((k + _BIAS) << _MANTISSA)


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def log1p(y):
    """log(1 + y) of y in [0, 1]."""
    high = _L4 + y * (_L5 + y * (_L6 + y * (_L7 + y * _L8)))
    return y * (_L0 + y * (_L1 + y * (_L2 + y * (_L3 + y * high))))


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def stopped(tau):
    """1 - exp(-tau), the share of light that an optical thickness tau >= 0 stops; exact where it is faint."""
    faint = tau * (_S0 + tau * (_S1 + tau * (_S2 + tau * (_S3 + tau * (_S4 + tau * _S5)))))
    return faint if tau < _ONE else _ONE - exp(-tau)


@njit(cache=True, nogil=True, fastmath=FAST, inline="always")
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return _ONE / (_ONE + exp(-x))
