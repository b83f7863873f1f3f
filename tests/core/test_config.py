import pytest

from scorelift.core.config import from_json, to_json
from scorelift.core.errors import ScoreliftError
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
