"""The look at a run on its way, of scenes in two dimensions and three."""

from dataclasses import replace

import pytest

from scorelift.core import pictures
from scorelift.engine.generate import generate
from scorelift.recipes import find_recipe
from scorelift.recipes.base import Finish
from scorelift.scenes import VoxelConfig


@pytest.mark.parametrize("name", ["canvas", "sjc"])
def test_a_run_shows_itself_on_the_way(name, tmp_path, monkeypatch):
    recipe = find_recipe(name).with_steps(2)
    if name == "sjc":
        finish = Finish(mesh_resolution=40, faces=500, texture=64, turntable_frames=2, turntable_size=32)
        recipe = replace(recipe, field=replace(recipe.field, scene=VoxelConfig(resolution=16), size=32), finish=finish)
    seen = []

    def write(path, picture):
        pictures.write_png(path, picture)
        if path.name == "live.png":
            assert path.exists()
            seen.append(picture)

    monkeypatch.setattr("scorelift.engine.job.PREVIEW_S", 0.0)
    monkeypatch.setattr("scorelift.engine.outputs.write_png", write)
    run = generate("a red duck", out=tmp_path / "run", recipe=recipe, device="cpu", quiet=True)
    assert [picture.shape for picture in seen] == [(96, 4 * 96, 3)] * 2  # four pictures, or four sides
    assert all(picture.std() > 1 for picture in seen)
    assert not (run.path / "live.png").exists()
