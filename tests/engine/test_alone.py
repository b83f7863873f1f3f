"""Runs and batches have their folders to themselves; a second command is told so, whatever it asks for."""

import signal

import pytest

import scorelift
from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.core.locks import LOCK, alone
from scorelift.engine.loop import Loop
from scorelift.priors.toybox import weights_path
from scorelift.recipes.canvas import study

PROMPT = "a red mushroom"
SMALL = study("sds", "annealed", 3.0, pictures=1, steps=3, size=32)
pytestmark = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")


def canvas(out, *words):
    return main(
        ["canvas", PROMPT, "--pictures", "1", "--size", "32", "--steps", "3", "--quiet", "--out", str(out), *words]
    )


def content(folder):
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def at_step(monkeypatch, step, work):
    """Do something before a step of a run."""
    take, done = Loop.one_step, []

    def one_step(loop):
        if loop.step == step and not done:
            done.append(True)
            work()
        return take(loop)

    monkeypatch.setattr(Loop, "one_step", one_step)


def test_a_run_under_way_is_left_alone(tmp_path, monkeypatch, capsys):
    told = []

    def meanwhile():
        before = content(tmp_path / "r")
        assert tmp_path / "r" / LOCK in before
        for words in ((), ("--resume",)):
            assert canvas(tmp_path / "r", *words) == 2
            told.append(capsys.readouterr().err)
        assert content(tmp_path / "r") == before

    at_step(monkeypatch, 1, meanwhile)
    assert canvas(tmp_path / "r") == 0
    assert len(told) == 2
    assert all("out: expected a folder in which no other process works" in line for line in told)
    assert all(line.count("\n") == 1 for line in told)
    assert not (tmp_path / "r" / LOCK).exists()
    with alone(tmp_path / "r"):
        assert canvas(tmp_path / "r", "--resume") == 0  # a finished run needs nobody's leave


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_run_that_is_stopped_lets_go(tmp_path, monkeypatch, number, code):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    at_step(monkeypatch, 1, lambda: signal.raise_signal(number))
    try:
        assert canvas(tmp_path / "r") == code
    finally:
        signal.signal(signal.SIGINT, before)
    assert not (tmp_path / "r" / LOCK).exists()
    assert canvas(tmp_path / "r", "--resume") == 0


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path):
    for name in ("r", "b/a-red-mushroom-0"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / LOCK).write_text("")
    assert scorelift.generate(PROMPT, recipe=SMALL, out=tmp_path / "r", quiet=True).finished
    entries = scorelift.batch([PROMPT], out=tmp_path / "b", recipe="canvas", steps=1, device="cpu")
    assert [entry.state for entry in entries] == ["finished"]


def test_a_batch_under_way_is_left_alone(tmp_path, capsys):
    (tmp_path / "p.txt").write_text(PROMPT)
    words = ["batch", str(tmp_path / "p.txt"), "--out", str(tmp_path / "b"), "--recipe", "canvas", "--steps", "1"]
    told = []

    def meanwhile(entry, ended, total):
        ledger = (tmp_path / "b" / "batch.json").read_bytes()
        assert main(words) == 2
        told.append(capsys.readouterr().err)
        assert (tmp_path / "b" / "batch.json").read_bytes() == ledger

    scorelift.batch([PROMPT], out=tmp_path / "b", recipe="canvas", steps=1, device="cpu", told=meanwhile)
    assert len(told) == 2
    assert all("out: expected a folder in which no other process works" in line for line in told)
    assert all(line.count("\n") == 1 for line in told)
    assert not list((tmp_path / "b").rglob(LOCK))
    assert main(words) == 0


def test_a_batch_that_cannot_be_started_leaves_nothing(tmp_path):
    with pytest.raises(ScoreliftError, match="nothing was started"):
        scorelift.batch(["a red griffin"], out=tmp_path / "new" / "b")
    assert not list(tmp_path.iterdir())
