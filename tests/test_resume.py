"""Runs that stop, and what is asked of them afterwards."""

import dataclasses
import json
import signal

import pytest

import scorelift
from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.core.files import load_state, save_state
from scorelift.distill.sds import SDS
from scorelift.engine.generate import check_asked
from scorelift.engine.interrupt import Terminated
from scorelift.engine.loop import Loop
from scorelift.recipes import find_recipe, recipe_from_json, register
from scorelift.recipes.canvas import study

PROMPT = "a red mushroom"
SMALL = study("sds", "annealed", 3.0, pictures=1, steps=3, size=32)


def canvas(out, *words):
    return main(["canvas", PROMPT, "--pictures", "1", "--size", "32", "--quiet", "--out", str(out), *words])


def stop_at(monkeypatch, step, error):
    take = Loop.one_step

    def one_step(loop):
        if loop.step == step:
            raise error
        return take(loop)

    monkeypatch.setattr(Loop, "one_step", one_step)


def test_a_run_killed_before_its_first_checkpoint_logs_each_step_once(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 2, MemoryError("killed"))  # nobody's error: nothing is saved
        with pytest.raises(MemoryError):
            scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True)
    assert not list((tmp_path / "r" / "checkpoints").iterdir())
    run = scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True, resume=True)
    assert [entry["step"] for entry in run.read_log()] == [1, 2, 3]


def test_seconds_are_of_all_sittings(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 2, ScoreliftError("no."))
        patch.setattr("scorelift.engine.job.CHECKPOINT_S", -1.0)  # after each step
        with pytest.raises(ScoreliftError, match="last good checkpoint"):
            scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True)
    state = load_state(path := max((tmp_path / "r" / "checkpoints").iterdir()))
    assert state["watch"]["seconds"] > state["watch"]["parts"]["picture"] > 0
    hour = {"seconds": 3600.0, "parts": {"picture": 3600.0}, "processor": {"picture": 3600.0}}
    save_state(path, {**state, "watch": hour})
    run = scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True, resume=True)
    first = run.metrics
    (run.path / "metrics.json").unlink()
    for metrics in (first, scorelift.generate(PROMPT, out=run.path, quiet=True, resume=True).metrics):
        assert metrics["seconds_by_part"].keys() == {"picture", "outputs"}
        assert 3600 < metrics["seconds_by_part"]["picture"] < 3700
        assert 3600 < metrics["processor_seconds_by_stage"]["picture"] < metrics["seconds"] < 3700


def test_a_run_that_fails_at_once_is_in_nobodys_way(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stop_at(patch, 0, ScoreliftError("no."))
        with pytest.raises(ScoreliftError, match="no"):
            scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True)
    assert not (tmp_path / "r").exists()
    assert scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True).finished


def test_sigterm_saves_as_ctrl_c_does(tmp_path, monkeypatch, capsys):
    before, take = signal.getsignal(signal.SIGTERM), Loop.one_step

    def one_step(loop):
        if loop.step == 1:
            signal.raise_signal(signal.SIGTERM)
        return take(loop)

    monkeypatch.setattr(Loop, "one_step", one_step)
    assert canvas(tmp_path / "r", "--steps", "4") == 143
    assert "--resume" in capsys.readouterr().err
    assert [p.name[-19:] for p in (tmp_path / "r" / "checkpoints").iterdir()] == ["0000002.safetensors"]
    assert signal.getsignal(signal.SIGTERM) is before
    assert issubclass(Terminated, KeyboardInterrupt)
    assert canvas(tmp_path / "r", "--steps", "4", "--resume") == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--steps", "9"], "picture.steps: expected 3, with which the run"),
        (["--seed", "5"], "seed: expected 0, with which the run"),
        (["--distiller", "vsd"], "picture.distiller: expected SDS, with which the run"),
    ],
)
def test_a_canvas_is_not_resumed_with_other_settings(tmp_path, capsys, words, told):
    assert canvas(tmp_path / "r", "--steps", "3") == 0
    assert canvas(tmp_path / "r", "--steps", "3", "--resume") == 0
    steps = [] if "--steps" in words else ["--steps", "3"]
    assert canvas(tmp_path / "r", *steps, *words, "--resume") == 2
    assert told in capsys.readouterr().err


def test_nor_is_a_run(tmp_path, capsys):
    recipe = dataclasses.replace(find_recipe("sjc", "small"), seed=3).with_steps(2)
    run = scorelift.engine.run.Run.create(tmp_path / "r", PROMPT, recipe)

    def resume(*words):
        assert main(["generate", PROMPT, "--out", str(run.path), "--resume", "--quiet", *words]) == 2
        return capsys.readouterr().err

    assert "recipe: expected sjc, with which" in resume("--recipe", "dreamfusion")
    assert "seed: expected 3, with which" in resume("--recipe", "sjc", "--preset", "small", "--seed", "0")
    assert "field.steps: expected 2, with which" in resume("--recipe", "sjc", "--preset", "small", "--steps", "5")
    assert "field.size: expected 64" in resume("--recipe", "sjc", "--field.size", "32")
    assert "field.size: expected 64" in resume("--field.size", "32")
    assert resume("--recipe", "sjc", "--prior", "nowhere").startswith("scorelift: prior: expected toybox, with which")


def test_a_run_goes_on_with_the_settings_it_was_begun_with(tmp_path, monkeypatch):
    """Only what is said beside recipe and preset is held against them, and the recipe need not be said."""
    monkeypatch.chdir(tmp_path)
    seen = []
    monkeypatch.setattr("scorelift.engine.generate.generate", lambda prompt, **given: seen.append(given["recipe"]))
    finish = dataclasses.replace(find_recipe("dreamflow", "small").finish, mesh_resolution=24)
    recipe = dataclasses.replace(find_recipe("dreamflow", "small"), finish=finish, until="nerf").with_steps(2)
    scorelift.engine.run.Run.create(tmp_path / "runs" / "a-red-mushroom-0", PROMPT, recipe)
    named = ["--recipe", "dreamflow", "--preset", "small"]
    for words in ([], named, ["--steps", "2"], [*named, "--steps", "2"]):
        for said in ([PROMPT, *words], [*words, PROMPT]):
            assert main(["generate", *said, "--resume", "--quiet"]) == 0
            assert seen.pop() == dataclasses.replace(recipe, until=None)
    assert main(["generate", PROMPT, "--resume", "--until", "mesh", "--finish.texture", "64", "--quiet"]) == 0
    finish = dataclasses.replace(finish, texture=64)
    assert seen.pop() == dataclasses.replace(recipe, until="texture", finish=finish)


def test_outputs_are_made_again_with_other_settings(tmp_path, monkeypatch):
    run = scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True)
    before, log = (run.path / "report.html").stat().st_mtime_ns, run.read_log()
    assert scorelift.generate(PROMPT, recipe=SMALL, out=run.path, quiet=True, resume=True).finished
    assert (run.path / "report.html").stat().st_mtime_ns == before  # nothing is new
    other = dataclasses.replace(SMALL, finish=dataclasses.replace(SMALL.finish, texture=64))
    with monkeypatch.context() as patch:
        patch.setattr("scorelift.engine.job.write_report", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            scorelift.generate(PROMPT, recipe=other, out=run.path, quiet=True, resume=True)
    assert not (run.path / "metrics.json").exists()
    run = scorelift.generate(PROMPT, out=run.path, quiet=True, resume=True)
    assert run.finished
    assert run.recipe.finish.texture == 64
    assert (run.path / "report.html").stat().st_mtime_ns > before
    assert run.read_log() == log


def test_flat_pictures_begin_anew(tmp_path):
    run = scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True)
    with pytest.raises(ScoreliftError, match="from: expected no run, for canvas makes flat pictures anew"):
        scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "s", start=run.path, quiet=True)
    assert not (tmp_path / "s").exists()


def test_a_class_of_ones_own_is_read_again_once_registered(tmp_path):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Calm(SDS):
        """Half as strong."""

        share: float = 0.5

        def __call__(self, *args):
            distilled = super().__call__(*args)
            return dataclasses.replace(distilled, gradient=self.share * distilled.gradient)

    own = SMALL.with_stages({"picture": dataclasses.replace(SMALL.picture, distiller=Calm())})
    with pytest.raises(ScoreliftError, match=r"got 'Calm'\. .*scorelift\.recipes\.register"):
        scorelift.generate(PROMPT, recipe=own, out=tmp_path / "r", quiet=True)
    assert not (tmp_path / "r").exists()
    register(Calm)
    run = scorelift.generate(PROMPT, recipe=own, out=tmp_path / "r", quiet=True)
    assert recipe_from_json(json.loads((run.path / "config.json").read_text())["recipe"]).picture.distiller == Calm()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"steps": "3"}, "steps: expected a whole number"),
        ({"seed": 1.5}, "seed: expected a whole number"),
        ({"recipe": type(SMALL)}, "recipe: expected a name or a Recipe"),
        ({"recipe": SMALL, "preset": "small"}, "preset: expected None"),
        ({"prior": object()}, "prior: expected a name, a folder"),
    ],
)
def test_what_is_not_of_its_kind_is_told(given, told):
    usual = {"recipe": "quick", "preset": None, "prior": None, "steps": None, "seed": None}
    check_asked(**usual)
    with pytest.raises(ScoreliftError, match="prompt: expected a sentence"):
        scorelift.generate(" ")
    with pytest.raises(ScoreliftError, match=told):
        check_asked(**{**usual, **given})
