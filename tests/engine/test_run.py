import json
import os
import subprocess
import sys

import pytest
import torch

from scorelift.core.errors import EmptySceneError, ScoreliftError
from scorelift.core.files import load_state
from scorelift.engine.generate import generate
from scorelift.engine.loop import Loop
from scorelift.engine.run import Run, slug
from scorelift.recipes import find_recipe
from scorelift.recipes.canvas import study


@pytest.mark.parametrize(
    ("prompt", "name"),
    [
        ("a red mushroom", "a-red-mushroom"),
        ("  A   Red mushroom!  ", "a-red-mushroom"),
    ],
)
def test_short_names_are_plain(prompt, name):
    assert slug(prompt) == name


@pytest.mark.parametrize(
    "prompt", ["ein Würfel", "赤いキノコ", "🍄", "../../etc/passwd", "x" * 5000, "a/b\\c:d*e?f", "con", "."]
)
def test_any_prompt_gives_a_safe_name(prompt):
    name = slug(prompt)
    assert name
    assert len(name) < 80
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not name.startswith("-")


def test_prompts_that_lose_letters_stay_apart():
    assert slug("赤いキノコ") != slug("青いキノコ")
    assert slug("y" * 100 + "a") != slug("y" * 100 + "b")


def test_created_and_opened_again(tmp_path):
    recipe = find_recipe("quick", "draft")
    Run.create(tmp_path / "r", "a red mushroom", recipe)
    run = Run.open(tmp_path / "r")
    assert run.prompt == "a red mushroom"
    assert run.recipe == recipe
    assert not run.finished
    with pytest.raises(ScoreliftError, match="not finished"):
        _ = run.metrics


def test_any_prompt_in_a_terminal_without_a_language(tmp_path):
    code = """
from pathlib import Path
from scorelift.engine.run import Run
from scorelift.recipes import find_recipe
run = Run.create(Path("r"), "a \\U0001f344", find_recipe("canvas"))
run.log({"index": 0, "step": 1, "said": "\\U0001f344"})
run.rewind_log(0, 1)
assert Run.open(Path("r")).prompt == "a \\U0001f344"
"""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **plain}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("content", ["config.json", "thesis.docx"])
def test_folders_in_use_are_left_alone(tmp_path, content):
    (tmp_path / content).write_text("mine")
    with pytest.raises(ScoreliftError, match="holds"):
        Run.create(tmp_path, "x", find_recipe("quick"))
    assert [p.name for p in tmp_path.iterdir()] == [content]
    assert (tmp_path / content).read_text() == "mine"


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "r").write_text("mine")
    with pytest.raises(ScoreliftError, match="in the way"):
        Run.create(tmp_path / "r", "x", find_recipe("quick"))


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"prompt": 3}', '{"prompt": 3, "recipe": {}}'])
def test_damaged_configurations_are_told(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ScoreliftError, match=r"config\.json"):
        Run.open(tmp_path)


def test_no_run_there(tmp_path):
    with pytest.raises(ScoreliftError, match="made by"):
        Run.open(tmp_path / "none")


def test_checkpoints_are_few_and_the_newest_is_found(tmp_path):
    run = Run.create(tmp_path / "r", "x", find_recipe("quick"))
    for step in (10, 20, 30, 40):
        run.save_checkpoint(0, "coarse", step, {"step": step})
    assert len(run.checkpoints()) == 2
    run.save_checkpoint(0, "coarse", 300, {"step": 300}, last=True)
    run.save_checkpoint(1, "fine", 5, {"step": 5, "t": torch.ones(2)})
    path, index, stage, step = run.latest_checkpoint()
    assert (index, stage, step) == (1, "fine", 5)
    assert run.load_checkpoint(path)["step"] == 5
    assert [p.stem for p in run.checkpoints()] == ["0-coarse-0000300", "1-fine-0000005"]


def test_a_checkpoint_that_was_made_half_goes_on_in_single_precision(tmp_path):
    """AdamW counts its steps in a tensor: in half precision it would not count beyond 2048."""
    recipe = study("vsd", "annealed", 3.0, pictures=1, steps=3, size=32)
    run = generate("a red duck", out=tmp_path / "r", recipe=recipe, device="cpu", quiet=True)
    path = run.checkpoints()[-1]

    def halved(value):
        if isinstance(value, dict):
            return {key: halved(item) for key, item in value.items()}
        return value.to(torch.bfloat16) if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    state = halved(run.load_checkpoint(path))
    assert state["scene"]["logits"].dtype == torch.bfloat16
    run.save_checkpoint(0, "picture", 2, {**state, "step": 2})
    path.unlink()
    (run.path / "metrics.json").unlink()
    run = generate("a red duck", out=tmp_path / "r", recipe=recipe, device="cpu", quiet=True, resume=True)
    after = load_state(path)
    steps = [one["step"] for one in after["twin"]["optimizer"]["state"].values()]
    assert {(float(step), step.dtype) for step in steps} == {(4.0, torch.float32)}
    assert after["scene"]["logits"].dtype == torch.float32
    assert run.finished


def test_the_log_rewinds_to_the_checkpoint(tmp_path):
    run = Run.create(tmp_path / "r", "x", find_recipe("quick"))
    for index, step in ((0, 1), (0, 2), (1, 1), (1, 2), (1, 3)):
        run.log({"index": index, "step": step})
    with (run.path / "log.jsonl").open("a") as file:
        file.write('{"index": 1, "st')  # killed while writing
    run.rewind_log(1, 1)
    assert [json.loads(line)["step"] for line in (run.path / "log.jsonl").read_text().splitlines()] == [1, 2, 1]


def test_an_empty_scene_says_so_after_a_checkpoint(tmp_path, monkeypatch):
    """The re-runs of papers count such runs, by the class of the error."""
    step = Loop.one_step

    def vanish(loop):
        if loop.step == 1:
            raise EmptySceneError("nothing is left.")
        return step(loop)

    monkeypatch.setattr("scorelift.engine.job.CHECKPOINT_S", 0.0)
    monkeypatch.setattr(Loop, "one_step", vanish)
    with pytest.raises(EmptySceneError, match=r"nothing is left\. The last good checkpoint is .*0-picture-0000001"):
        generate("a red duck", out=tmp_path / "r", recipe=find_recipe("canvas").with_steps(3), device="cpu", quiet=True)
