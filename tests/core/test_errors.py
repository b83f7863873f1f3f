import numpy as np
import pytest
import torch

from scorelift.core.errors import ScoreliftError, bad, check_choice, check_positive, check_range, whole


def test_form():
    assert (
        str(bad("steps", expected="a number", got="x", remedy="Try 3.")) == "steps: expected a number, got 'x'. Try 3."
    )


@pytest.mark.parametrize("value", [3, np.int64(3), torch.tensor(3)])
def test_whole_numbers_of_any_library(value):
    assert type(whole("seed", value)) is int
    assert whole("seed", value) == 3


@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, "3", None])
def test_what_is_no_whole_number(value):
    with pytest.raises(ScoreliftError, match="seed: expected a whole number, got"):
        whole("seed", value)


@pytest.mark.parametrize("value", [None, 3, ["cpu"]])
def test_choice_is_text(value):
    with pytest.raises(ScoreliftError, match="device: expected text, got"):
        check_choice("device", value, ["cpu"])


def test_choice_suggests_the_nearest():
    with pytest.raises(ScoreliftError, match=r"one of quick, canvas, got 'quik'. Did you mean 'quick'\?"):
        check_choice("recipe", "quik", ["quick", "canvas"])


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_positive(value):
    with pytest.raises(ScoreliftError, match="above 0"):
        check_positive("n", value)


def test_range():
    check_range("x", 1.0, 0, 1)
    with pytest.raises(ScoreliftError, match=r"\[0, 1\]"):
        check_range("x", 1.01, 0, 1)
