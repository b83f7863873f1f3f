import pytest

import scorelift
from scorelift.priors.toybox import load_toybox, weights_path
from scorelift.recipes.canvas import study

pytestmark = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")
ONE = study("sds", "annealed", 3.0, pictures=1, steps=1, size=32)


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("red", "expected an object of the toybox"),
        ("a red duck and a blue car", "expected one object, what it wears, what it stands on"),
        ("a chair wearing a top hat", "a chair has no head to wear it on"),
        ("a DSLR photo of a striped blue duck wearing a top hat, front view", None),
    ],
)
def test_what_is_no_toy_is_remarked_on_and_made(tmp_path, capsys, prompt, told):
    assert scorelift.generate(prompt, recipe=ONE, out=tmp_path / "r").finished
    said = [line for line in capsys.readouterr().err.splitlines() if "what it makes of it is a guess" in line]
    assert len(said) == (told is not None)
    assert told is None or told in said[0]


def test_weights_that_are_not_there_are_not_to_be_trained():
    with pytest.raises(scorelift.ScoreliftError, match=r"no weights at nowhere.safetensors. Check the path"):
        load_toybox(weights_path().__class__("nowhere.safetensors"))
