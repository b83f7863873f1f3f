"""Functions in single precision that a compiler spreads over the lanes of a CPU: polynomials, no branches, no calls.

For loops over arrays in compiled passes, where the library's `exp` and `log` would be called once for each number.
Errors are relative, of the order of single precision's own; what is not a number stays so.

Ref: exp by powers of two, as in Cephes (Moshier); coefficients are least maximum errors on their ranges.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils

from .compiling import FAST, inlined

intrinsic: Any = extending.intrinsic  # by its own type, the typing context would be an argument of what it makes
_FLAGS = tuple(sorted(FAST))
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
def whole(_: Any, number: Any) -> Any:
    """A float32 without its fraction, as int32."""

    def build(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fptosi(args[0], ir.IntType(32))

    return types.int32(types.float32), build


@inlined
def exp(x):
    """exp(x); from 2^-126 to 2^126."""
    z = min(max(x * _LOG2E, _LEAST), _MOST)
    k = whole(z + (_HALF if z >= _NONE else -_HALF))
    f = z - np.float32(k)
    return (_E0 + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * _E5))))) * _as_float((k + _BIAS) << _MANTISSA)


@inlined
def log1p(y):
    """log(1 + y) of y in [0, 1]."""
    high = _L4 + y * (_L5 + y * (_L6 + y * (_L7 + y * _L8)))
    return y * (_L0 + y * (_L1 + y * (_L2 + y * (_L3 + y * high))))


@inlined
def stopped(tau):
    """1 - exp(-tau), the share of light that an optical thickness tau >= 0 stops; exact where it is faint."""
    faint = tau * (_S0 + tau * (_S1 + tau * (_S2 + tau * (_S3 + tau * (_S4 + tau * _S5)))))
    return faint if tau < _ONE else _ONE - exp(-tau)


@inlined
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return _ONE / (_ONE + exp(-x))


def _vector(context: Any, builder: Any, kind: Any, array: Any, at: Any, width: int) -> Any:
    """Pointer to `width` numbers of an array, from a place on."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [at]), ir.VectorType(ir.FloatType(), width).as_pointer())


def _all(builder: Any, number: Any, width: int) -> Any:
    """A vector of one number."""
    vector = ir.Constant(ir.VectorType(ir.FloatType(), width), ir.Undefined)
    for lane in range(width):
        vector = builder.insert_element(vector, number, ir.Constant(ir.IntType(32), lane))
    return vector


@intrinsic
def blended(_: Any, grid: Any, lanes: Any, places: Any, shares: Any) -> Any:
    """sum_i shares[i] grid[places[i] + m], m < len(lanes), as a tuple: all channels of a place by one instruction."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        width, total = len(lanes), None
        where, how = (cgutils.unpack_tuple(builder, arg) for arg in args[2:])
        for at, share in zip(where, how, strict=True):
            read = builder.load(_vector(context, builder, signature.args[0], args[0], at, width), align=4)
            part = builder.fmul(read, _all(builder, share, width), flags=_FLAGS)
            total = part if total is None else builder.fadd(total, part, flags=_FLAGS)
        found = [builder.extract_element(total, ir.Constant(ir.IntType(32), lane)) for lane in range(width)]
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.float32, len(lanes))(grid, lanes, places, shares), build


@intrinsic
def deposit(_: Any, grid: Any, places: Any, shares: Any, values: Any) -> Any:
    """grid[places[i] + m] += shares[i] values[m]."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where, how, what = (cgutils.unpack_tuple(builder, arg) for arg in args[1:])
        width = len(what)
        given: Any = ir.Constant(ir.VectorType(ir.FloatType(), width), ir.Undefined)
        for lane, value in enumerate(what):
            given = builder.insert_element(given, value, ir.Constant(ir.IntType(32), lane))
        for at, share in zip(where, how, strict=True):
            pointer = _vector(context, builder, signature.args[0], args[0], at, width)
            part = builder.fmul(given, _all(builder, share, width), flags=_FLAGS)
            builder.store(builder.fadd(builder.load(pointer, align=4), part, flags=_FLAGS), pointer, align=4)
        return context.get_dummy_value()

    return types.void(grid, places, shares, values), build


@intrinsic
def every(_: Any, numbers: Any, lanes: Any, at: Any, stride: Any) -> Any:
    """(numbers[at], numbers[at + stride], ...), as many as there are lanes and one."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data, place, found = context.make_array(numbers)(context, builder, args[0]).data, args[2], []
        for _lane in range(len(lanes) + 1):
            found.append(builder.load(builder.gep(data, [place])))
            place = builder.add(place, args[3])
        return context.make_tuple(builder, signature.return_type, found)

    return types.UniTuple(types.float32, len(lanes) + 1)(numbers, lanes, types.int64, types.int64), build


@intrinsic
def soon(_: Any, grid: Any, places: Any) -> Any:
    """Bring what lies at some places of an array near, for it is wanted soon."""

    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        address, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [address, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch.p0", fnty=kind)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        settings = [ir.Constant(number, value) for value in (0, 3, 1)]  # to be read, more than once, data
        for at in cgutils.unpack_tuple(builder, args[1]):
            builder.call(fetch, [builder.bitcast(builder.gep(data, [at]), address), *settings])
        return context.get_dummy_value()

    return types.void(grid, places), build
