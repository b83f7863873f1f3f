import pytest

from scorelift.core.config import from_json, to_json
from scorelift.core.errors import ScoreliftError
from scorelift.priors.options import ModelOptions
from scorelift.recipes import RECIPES, find_recipe, recipe_from_json


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_and_preset_comes_back(name):
    recipes = [find_recipe(name), *(find_recipe(name, preset) for preset in RECIPES[name].presets)]
    for recipe in recipes:
        assert recipe_from_json(to_json(recipe)) == recipe
    assert len({str(to_json(r)) for r in recipes}) == len(recipes)


def test_unknown_fields_and_classes_are_refused():
    value = to_json(find_recipe("quick"))
    value["shape"]["stepz"] = 3
    with pytest.raises(ScoreliftError, match="stepz"):
        recipe_from_json(value)
    with pytest.raises(ScoreliftError, match="Nonsense"):
        from_json({"type": "Nonsense"}, ())


@pytest.mark.parametrize(
    ("old", "now"),
    [({"lora": None, "lora_scale": 1.0, "textual_inversion": None}, ModelOptions()),
     ({"lora": "a", "lora_scale": 0.5, "textual_inversion": "t"},
      ModelOptions(lora=("a",), lora_scale=(0.5,), textual_inversion=("t",)))],
)  # fmt: skip
def test_runs_of_one_lora_are_read(old, now):
    value = to_json(find_recipe("quick"))
    value["model"] |= old
    recipe = recipe_from_json(value)
    assert recipe.model == now
    assert recipe_from_json(to_json(recipe)) == recipe


def test_what_a_field_refuses_is_said_with_its_place():
    for name, value in (("steps", 0), ("noise", {"type": "Trajectory", "levels": 0}), ("size", "large")):
        config = to_json(find_recipe("dreamflow"))
        config["nerf"][name] = value
        place = "nerf.noise.levels" if name == "noise" else f"nerf.{name}"
        with pytest.raises(ScoreliftError, match=rf"another version\. {place}: expected"):
            recipe_from_json(config)
    config = to_json(find_recipe("dreamflow"))
    config["finish"]["faces"] = 1
    with pytest.raises(ScoreliftError, match=r"version\. finish\.faces: expected"):
        recipe_from_json(config)
