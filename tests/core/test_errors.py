import pytest

from scorelift.core.errors import ScoreliftError, bad, check_choice, check_positive, check_range


def test_form():
    assert (
        str(bad("steps", expected="a number", got="x", remedy="Try 3.")) == "steps: expected a number, got 'x'. Try 3."
    )


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
