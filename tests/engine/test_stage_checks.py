"""What stages ask of each other and of their priors, told before the first step."""

from dataclasses import replace

import pytest

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.engine.checks import check_asked, check_chain, check_stages
from scorelift.priors.pixels import PixelsPrior
from scorelift.priors.toybox import load_toybox, weights_path
from scorelift.recipes import RECIPES, find_recipe
from scorelift.scenes import MLPConfig, build_scene
from scorelift.scenes.follow import check_follows

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")
DREAMFLOW = ("generate", "a blue teapot", "--recipe", "dreamflow", "--preset", "small", "--steps", "2")


@needs_weights
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--geometry.scene.resolution", "12"),
         "texture.scene.resolution: expected 12, as in stage geometry, got 40. Set --texture.scene.resolution 12."),
        (("--nerf.scene.levels", "9"),
         "geometry.scene.paint.levels: expected 9, as in stage nerf, got 8. Set --geometry.scene.paint.levels 9."),
        (("--nerf.scene.extent", "1.5"), "geometry.scene.paint.extent: expected 1.5, as in stage nerf, got 1.0."),
        (("--texture.noise.end", "0.001"), "texture.noise.end: expected a time between 0.013 and 0.992, which"),
        (("--refine.noise.start", "0.9"), "refine.noise.start: expected a time between 0.013 and 0.344, which"),
        (("--refine.size", "250"), "refine.size: expected height and width that are multiples of 8, got '250 x 250'"),
        (("--geometry.scene.resolution", "9000"), "geometry.scene.resolution: expected a grid that fits"),
        (("--texture.prior", "pixels"), "texture.distiller.twin: the pixels prior has no network that a twin could "
         "share. Set --texture.distiller.twin.kind identity, or another --texture.prior."),
        (("--prior", "pixels"), "nerf.distiller.twin: the pixels prior has no network that a twin could share. Set "
         "--nerf.distiller.twin.kind identity, or another --prior."),
    ],
)  # fmt: skip
def test_what_a_later_stage_cannot_do_is_told_before_the_first(tmp_path, capsys, words, told):
    if "--geometry.scene.resolution" in words and "9000" in words:
        words = (*words, "--texture.scene.resolution", "9000", "--refine.scene.resolution", "9000")
    assert main([*DREAMFLOW, *words, "--out", str(tmp_path / "r")]) == 2
    assert capsys.readouterr().err.startswith(f"scorelift: {told}")
    assert not (tmp_path / "r").exists()


@needs_weights
def test_a_stages_own_prior_is_asked_whether_it_reads_the_prompt():
    with pytest.raises(ScoreliftError, match="does not know 'astronaut'"):
        check_stages(find_recipe("dreamflow", "small"), load_toybox(), "an astronaut")


@needs_weights
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_goes_on_from_stage_to_stage(name):
    prior = load_toybox(device="meta")
    for preset in (None, *RECIPES[name].presets):
        recipe = find_recipe(name, preset)
        check_chain(recipe.fitted(0 if name != "latentnerf" else 4))
        for stage, one in recipe.stages().items() if recipe.prior == "toybox" else ():
            if one.prior is None:
                check_asked(prior, stage, one)


def test_a_background_of_another_width_is_told():
    config = MLPConfig(blocks=1, width=8)
    with pytest.raises(ScoreliftError, match=r"scene\.environment_width: expected 64, .*, got 32"):
        build_scene(replace(config, environment_width=32), build_scene(config))
    check_follows(replace(config, environment_width=32, environment=False), config)


def test_what_asks_no_prior_is_asked_nothing():
    for name, one in find_recipe("dreamfields", "small").stages().items():
        check_asked(PixelsPrior(), name, replace(one, size=17))
