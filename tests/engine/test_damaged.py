"""Checkpoints that cannot be read: the one before is used where one will do, and what to do is told where none will."""

from dataclasses import replace

import pytest
import torch

import scorelift
from scorelift.core.errors import DamagedError, ScoreliftError
from scorelift.engine import job
from scorelift.engine.loop import Loop
from scorelift.engine.outputs import export_run
from scorelift.engine.results import final_scene, last_gaussians, start_scene
from scorelift.engine.run import Run
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe
from scorelift.recipes.canvas import study

PROMPT = "a red mushroom"
FLAT = study("vsd", "annealed", 3.0, pictures=1, steps=6, size=32)
SOLID = find_recipe("quick").with_steps(3)
needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def generate(out, recipe=FLAT, **more):
    return scorelift.generate(PROMPT, recipe=recipe, out=out, device="cpu", **more)


def stop_at(monkeypatch, stage, step):
    """Let a run be killed before a step; it leaves a checkpoint after each."""
    take = Loop.one_step

    def one_step(loop):
        if (loop.name, loop.step) == (stage, step):
            raise MemoryError("killed")
        return take(loop)

    monkeypatch.setattr(Loop, "one_step", one_step)
    monkeypatch.setattr(job, "CHECKPOINT_S", 0.0)


def killed(out, stage, step, recipe=FLAT):
    with pytest.MonkeyPatch.context() as patch:
        stop_at(patch, stage, step)
        with pytest.raises(MemoryError):
            generate(out, recipe, quiet=True)
    return Run.open(out)


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def same(one, other):
    """Whether two runs left the same checkpoints, bit for bit, and the same log."""
    for ours, theirs in zip(one.checkpoints(), other.checkpoints(), strict=True):
        assert ours.name == theirs.name
        first, second = (one.load_checkpoint(path)["scene"] for path in (ours, theirs))
        assert all(torch.equal(first[name], second[name]) for name in second)
    return one.read_log() == other.read_log()


@needs_weights
def test_the_one_before_a_damaged_checkpoint_goes_on_bit_for_bit(tmp_path, capsys):
    whole = generate(tmp_path / "whole", quiet=True)
    run = killed(tmp_path / "r", "picture", 4)
    before, newest = run.checkpoints()
    cut(newest)
    run = generate(run.path, resume=True)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == (f"{newest}: damaged, and laid aside with the ending .damaged; the run goes on from the "
                       f"checkpoint before, {before.name}")  # fmt: skip
    assert [line for line in said if "damaged" in line] == said[:1]
    assert same(run, whole)
    assert [entry["step"] for entry in run.read_log()] == [1, 2, 3, 4, 5, 6]
    assert newest.with_name(f"{newest.name}.damaged").exists()


@needs_weights
def test_a_damaged_stage_goes_on_from_the_end_of_the_one_before(tmp_path, dense):
    finish = replace(find_recipe("quick").finish, mesh_resolution=24, faces=300, texture=32, turntable_frames=2,
                     turntable_size=16, preview_size=16)  # fmt: skip
    recipe = dense(replace(find_recipe("quick", "draft").with_steps(3), finish=finish))
    whole = generate(tmp_path / "whole", recipe, quiet=True)
    run = killed(tmp_path / "r", "surface", 2, recipe)
    first, *second = run.checkpoints()
    assert len(second) == 2
    for path in second:
        path.write_bytes(b"")
    run = generate(run.path, recipe, resume=True, quiet=True)
    assert same(run, whole)
    assert run.checkpoints()[0] == first
    for path in (run.checkpoints()[0], whole.checkpoints()[1]):
        cut(path)
    with pytest.raises(ScoreliftError, match=r"0-shape-0000003.*damaged.*make the run anew"):
        last_gaussians(run)
    with pytest.raises(
        ScoreliftError, match=r"1-surface-0000003.*damaged.*and metrics\.json and continue the run with"
    ):
        start_scene(whole, recipe)
    assert len(export_run(whole, "glb", tmp_path)) == 1  # which needs no checkpoint
    assert len(export_run(whole, "splat", tmp_path)) == 1


@needs_weights
def test_what_to_do_when_figures_mesh_or_log_are_damaged_is_true(tmp_path):
    run = generate(tmp_path / "r", SOLID, quiet=True)
    cut(run.path / "asset.glb")
    with pytest.raises(ScoreliftError, match=r"asset\.glb is damaged\. Remove .*metrics\.json and continue the run"):
        export_run(run, "obj", tmp_path / "o")
    assert not (tmp_path / "o").exists()
    cut(run.path / "metrics.json")
    with pytest.raises(DamagedError, match=r"metrics\.json is damaged .*Remove it and continue the run with --resume"):
        generate(run.path, SOLID, resume=True, quiet=True).metrics["seconds"]
    (run.path / "metrics.json").unlink()
    log = run.path / "log.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"step": 9}\n[]\n\xff\n')
    assert generate(run.path, SOLID, resume=True, quiet=True).metrics["faces"] > 0
    assert log.read_bytes() == whole
    assert len(export_run(run, "obj", tmp_path / "o")) == 3


@needs_weights
def test_what_to_do_when_the_last_one_is_lost_is_true(tmp_path):
    run = generate(tmp_path / "r", quiet=True)
    scene, path = final_scene(run).state_dict(), run.checkpoints()[-1]
    cut(path)
    with pytest.raises(
        DamagedError, match=r"damaged .*Remove 0-picture-0000006\.safetensors and metrics\.json and conti"
    ):
        final_scene(run)
    path.unlink()
    with pytest.raises(
        ScoreliftError, match=r"kept 0-picture-0000006.*Remove metrics\.json and continue the run with --re"
    ):
        final_scene(run)
    (run.path / "metrics.json").unlink()
    with pytest.raises(ScoreliftError, match=r"a finished run, got .* Continue it with --resume"):
        final_scene(run)
    again = final_scene(generate(run.path, resume=True, quiet=True)).state_dict()
    assert all(torch.equal(again[name], scene[name]) for name in scene)


@needs_weights
def test_nothing_is_touched_where_none_can_be_read(tmp_path):
    run = killed(tmp_path / "r", "picture", 3)
    for path in run.checkpoints():
        cut(path)
    before = {path.name: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(DamagedError, match=r"0-picture-0000003\.safetensors: damaged .* an older one takes its place"):
        generate(run.path, resume=True, quiet=True)
    assert {path.name: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before
