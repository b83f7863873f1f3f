"""Dream Fields: its numbers, and steps with a scorer of the closed world's kind and with a CLIP."""

import json
import math
from dataclasses import replace

import pytest
import torch
import trimesh

import scorelift
from scorelift.core.backdrops import TextureSampler
from scorelift.core.errors import ScoreliftError
from scorelift.core.samplers import ShadingSampler
from scorelift.core.schedules import Constant
from scorelift.distill import similarity
from scorelift.distill.sds import SDS
from scorelift.distill.similarity import Similarity
from scorelift.priors.registry import check_there, load_prior, sketch_prior
from scorelift.recipes import find_recipe
from scorelift.recipes.base import Finish, Penalties, Prompting
from scorelift.recipes.dreamfields import SIZE
from scorelift.recipes.optimizers import Adam
from scorelift.scenes import MLPConfig

FINISH = Finish(mesh_resolution=24, faces=400, texture=32, turntable_frames=2, turntable_size=32, preview_size=24)


def test_the_numbers():
    recipe = find_recipe("dreamfields")
    (field,) = recipe.stages().values()
    assert recipe.prior == "pixels"
    assert (field.steps, field.size, field.views) == (10_000, 154, 1)
    assert isinstance(field.scene, MLPConfig)
    assert (field.scene.coarse_samples, field.scene.fine_samples, field.scene.blocks) == (192, 0, 4)
    assert (field.scene.extent, field.scene.environment) == (1.0, False)
    assert math.exp(field.scene.density_bias) == pytest.approx(math.log(2), rel=0.01)  # softplus of 0
    assert isinstance(field.distiller, Similarity)
    assert field.distiller.scorer == "openai/clip-vit-base-patch16"
    assert field.penalties.transmittance.at(0.5) == 0.5
    targets = [field.penalties.transmittance_target.at(step / field.steps) for step in (0, 500, 10_000)]
    seen = (168 / 154) ** 2  # the part that is shown is so much fuller than the whole, of which the paper speaks
    assert targets == [pytest.approx(1 - seen * (1 - t)) for t in (0.4, 0.88, 0.88)]
    rates = [field.optimizer.rate.at(step / field.steps) for step in (0, 1500, 10_000)]
    assert isinstance(field.optimizer, Adam)
    assert rates == [pytest.approx(r) for r in (1e-5, 1e-4, 1e-4)]
    assert (field.optimizer.betas, field.optimizer.eps) == ((0.9, 0.999), 1e-5)
    assert field.backdrops == TextureSampler(noise=1, checkers=1, clouds=1, squares=8, decay=1.5)
    assert field.backdrops.blur[1] * 224 == pytest.approx(10)  # of the pixels that CLIP sees
    assert field.prompting.choice == "none"


def test_the_objective_is_the_papers():
    """The loop divides gradients by the pixels of z: what is left is that of the likeness, beside lambda's loss."""
    assert find_recipe("dreamfields").field.distiller.scale == SIZE**2


def test_cameras_stand_at_one_height_and_shake_as_crops_do():
    cameras = find_recipe("dreamfields").field.cameras.draw(2000, torch.Generator().manual_seed(0))
    assert float((cameras.elevation_deg - 30).abs().max()) < 1e-3
    assert float((cameras.position.norm(dim=-1) - 4).abs().max()) < 1e-3
    assert float(cameras.azimuth_deg.max() - cameras.azimuth_deg.min()) > 358
    width = (
        168 / 154 * 2 * 4 * math.tan(math.radians(float(cameras.fovy_deg[0]) / 2))
    )  # of the whole picture, at the middle
    assert width == pytest.approx(4 / (1.2 * 1111.1111 / 800))
    shift = 7 / 168 * width  # at most, to each side
    assert find_recipe("dreamfields").field.cameras.target_std == pytest.approx(shift / math.sqrt(3), rel=0.05)


def test_small_differs_from_dreamfusions_in_the_objective_alone():
    """What the baseline of DreamFusion's Table 1 was before it was a recipe."""
    (stage,) = find_recipe("dreamfusion", "small").stages().values()
    small = find_recipe("dreamfields", "small")
    assert small.prior == find_recipe("dreamfusion", "small").prior
    assert small.field == replace(
        stage, distiller=Similarity(scorer="toybox", scale=1000.0), shading=ShadingSampler(shaded=0.0),
        penalties=Penalties(transmittance=Constant(0.5)), prompting=Prompting(choice="none"),
    )  # fmt: skip


def tiny(recipe):
    """The recipe with a tiny network that begins dense."""
    field = recipe.field
    scene = replace(field.scene, width=8, blocks=1, coarse_samples=12, density_bias=1.5)
    return replace(recipe, field=replace(field, scene=scene, size=32, steps=2, bands=0), finish=FINISH)


@pytest.mark.parametrize("preset", [None, "small"])
def test_a_run_climbs_the_scorers_likeness(preset, tmp_path, monkeypatch, untrained_scorer):
    monkeypatch.setattr(similarity, "load_scorer", lambda *_: untrained_scorer)
    recipe = tiny(find_recipe("dreamfields", preset))
    prompt = "a marble bust of Plato" if preset is None else "a yellow duck"  # pixels knows every word
    run = scorelift.generate(prompt, out=tmp_path / "run", recipe=recipe, quiet=True)
    log = run.read_log()
    assert [entry["gradient"] > 0 for entry in log] == [True, True]
    assert all(entry["penalty"] < 0 for entry in log)  # of transmittance, there is some
    assert len(trimesh.load(run.path / "asset.glb", force="mesh").faces) > 20
    assert json.loads((run.path / "metrics.json").read_text())["recipe"] == "dreamfields"


def test_pixels_is_a_prior_of_any_words_and_of_no_pictures(tmp_path):
    prior = load_prior("pixels")
    check_there("pixels")
    assert sketch_prior("pixels")[1] == 0
    prior.check_prompt("a marble bust of Plato")
    rgb = torch.rand(1, 3, 7, 7)
    torch.testing.assert_close(prior.decode(prior.encode(rgb)), rgb)
    recipe = tiny(find_recipe("dreamfields"))
    recipe = replace(recipe, field=replace(recipe.field, distiller=SDS()))
    with pytest.raises(ScoreliftError, match="pixels is no model"):
        scorelift.generate("a duck", out=tmp_path / "run", recipe=recipe, quiet=True)
    assert not (tmp_path / "run").exists()
