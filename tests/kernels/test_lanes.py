"""Polynomials in single precision against numpy's functions in double."""

import numpy as np
import pytest
from numba import njit

from scorelift.kernels import lanes

CASES = {
    "exp": (np.exp, np.linspace(-30, 30, 20_001), 2e-6),
    "log1p": (np.log1p, np.concatenate([np.logspace(-12, 0, 5001), [0.0]]), 3e-7),
    "stopped": (lambda t: -np.expm1(-t), np.concatenate([np.logspace(-12, 3, 8001), [0.0]]), 4e-7),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), np.linspace(-30, 30, 20_001), 2e-6),
}


def over(name: str, x: np.ndarray) -> np.ndarray:
    """A function over an array, compiled as the passes are."""
    one = getattr(lanes, name)

    @njit(fastmath=lanes.FAST)
    def loop(x, out):
        for i in range(len(x)):
            out[i] = one(x[i])

    out = np.empty_like(x)
    loop(x, out)
    return out


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_function(name):
    function, x, within = CASES[name]
    x = x.astype(np.float32)
    expected = function(x.astype(np.float64))
    np.testing.assert_allclose(over(name, x), expected, rtol=within, atol=1e-37)


def test_far_away_and_what_is_no_number():
    far = np.array([-1e9, -np.inf, 1e9, np.inf, np.nan], np.float32)
    least, _, most, _, none = over("exp", far)
    assert 0 < least < 1.2e-38
    assert most > 8e37
    assert np.isnan(none)
    np.testing.assert_allclose(over("sigmoid", far)[:4], [0, 0, 1, 1], atol=2e-38)
    assert over("stopped", far)[2:4].tolist() == [1, 1]
    assert np.isnan(over("stopped", far)[4])
