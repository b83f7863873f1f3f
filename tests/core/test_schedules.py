import pytest

from scorelift.core.schedules import Constant, Ramp, Steps


def test_constant():
    assert Constant(3.0).at(0.7) == 3.0


def test_ramp_is_flat_outside_and_straight_inside():
    ramp = Ramp(1.0, 3.0, begin=0.2, until=0.6)
    assert [ramp.at(p) for p in (0.0, 0.2, 0.4, 0.6, 1.0)] == pytest.approx([1, 1, 2, 3, 3])


def test_logarithmic_ramp():
    assert Ramp(0.01, 1.0, log=True).at(0.5) == pytest.approx(0.1)


def test_steps():
    steps = Steps((0.0, 0.5), (1.0, 20.0))
    assert [steps.at(p) for p in (0.0, 0.49, 0.5, 1.0)] == [1.0, 1.0, 20.0, 20.0]
