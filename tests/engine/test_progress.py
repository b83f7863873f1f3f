"""The line a person sees while waiting."""

from scorelift.engine import progress as module
from scorelift.engine.progress import Progress


def test_the_time_left_leaves_the_first_step_out(monkeypatch, capsys):
    """The first takes 60 s, in which passes are compiled, the others 1 s each."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    progress = Progress(100, 10)
    now[0] = 60.0
    progress.step("a")
    assert progress.seconds_left is None
    for _ in range(9):
        now[0] += 1
        progress.step("b")
    assert progress.seconds_left == 80.0
    assert capsys.readouterr().err.splitlines() == ["     11/100     ? s left  a"]  # a line in ten seconds
    now[0] += 10
    progress.step("c")
    assert capsys.readouterr().err.startswith("     21/100   150 s left")
