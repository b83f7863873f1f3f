import pytest

import scorelift
from scorelift.core.schedules import Constant
from scorelift.engine.remarks import idle
from scorelift.priors.toybox import load_toybox, weights_path
from scorelift.recipes import RECIPES, find_recipe
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


@pytest.mark.parametrize(
    ("recipe", "option", "value", "told"),
    [
        ("quick", "shape.lights.distance", 2.0, "nothing is lit in this stage"),
        ("quick", "shape.distiller.twin.steps", 3, "this twin learns nothing"),
        ("quick", "surface.scene.paint-rate", 0.5, "colours stay as they are"),
        ("quick", "surface.guide.sigma", 0.1, "there is no mesh to be led by"),
        ("dreamflow", "texture.scene.flow", 0.2, "the shape stays as it is"),
        ("quick", "surface.lights.distance", 2.0, None),
        ("sjc", "field.backdrops.tint", 0.3, "learns its own background"),
        ("sjc", "field.penalties.orientation", Constant(1.0), "nothing has normals"),
        ("dreamflow", "texture.distiller.twin.steps", 3, None),
    ],
)
def test_an_option_without_effect_is_told(recipe, option, value, told):
    found = idle(find_recipe(recipe, fields={option: value}))
    assert len(found) == (told is not None)
    assert told is None or (found[0].startswith(f"--{option}") and told in found[0])


@pytest.mark.parametrize("name", RECIPES)
def test_nothing_is_said_of_a_recipe_as_it_is(name):
    for preset in (None, *RECIPES[name].presets):
        assert idle(find_recipe(name, preset)) == []
