"""The Python API mirrors the command line."""

import dataclasses

import pytest

import scorelift
from scorelift.priors.toybox import weights_path
from scorelift.recipes.base import Finish

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


@needs_weights
def test_generate_returns_the_run(tmp_path, dense):
    tiny = Finish(mesh_resolution=40, faces=500, texture=64, turntable_frames=2, turntable_size=32, preview_size=24)
    recipe = dense(dataclasses.replace(scorelift.find_recipe("quick"), finish=tiny))
    run = scorelift.generate(
        "a red mushroom", out=tmp_path / "r", recipe=recipe, steps=2, seed=5, device="cpu", quiet=True
    )
    assert run.finished
    assert run.recipe.seed == 5
    assert run.metrics["recipe"] == "quick"
    assert scorelift.export_run(run, "ply") == [tmp_path / "r" / "asset.ply"]
    again = scorelift.generate("a red mushroom", out=tmp_path / "r", resume=True, quiet=True)
    assert again.metrics == run.metrics


def test_names_are_there():
    assert set(dir(scorelift)) == set(scorelift.__all__)
    assert all(hasattr(scorelift, name) for name in scorelift.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = scorelift.nonsense
