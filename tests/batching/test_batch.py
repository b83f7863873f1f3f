"""Whole batches, of flat pictures, which are quick; a run of `quick` in one step fails, for there is nothing to see."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import scorelift
from scorelift.batching import many
from scorelift.batching.crews import Crew
from scorelift.batching.ledger import Entry, write_ledger
from scorelift.batching.page import index_html, strip
from scorelift.batching.work import work
from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.core.files import write_json
from scorelift.core.pictures import write_png
from scorelift.engine.interrupt import Terminated
from scorelift.engine.run import Run
from scorelift.evaluate import evidence
from scorelift.priors.toybox import weights_path
from scorelift.recipes import find_recipe

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")
FLAT = {"recipe": "canvas", "steps": 2}
EMPTY = {"prompt": "a red duck", "recipe": "magic3d", "preset": "small", "steps": 1, "out": "empty"}


class Here(Crew):
    """This very process, one run after the other; keeps what it was asked for."""

    def __init__(self, size=2):
        self.size, self.asked, self.waiting, self.most = size, [], [], 0

    def start(self, number, order):
        self.asked.append(order)
        self.waiting.append((number, order))
        self.most = max(self.most, self.busy)

    def done(self):
        number, order = self.waiting.pop(0)
        return [(number, work(order))]

    @property
    def busy(self):
        return len(self.waiting)

    def stop(self):
        self.waiting.clear()

    close = stop


@pytest.fixture
def here(monkeypatch):
    crew = Here()
    monkeypatch.setattr(many, "hire", lambda **asked: crew)
    return crew


def ledger(folder):
    return json.loads((folder / "batch.json").read_text())["runs"]


@needs_weights
def test_a_batch_goes_on_past_failures_and_is_not_done_twice(tmp_path, here):
    heard = []
    rows = ["a red duck", EMPTY, {"prompt": "a blue duck", "seed": 4}]
    batch = partial(scorelift.batch, rows, out=tmp_path / "b", device="cpu", **FLAT)
    entries = batch(told=lambda entry, ended, total: heard.append((entry.where, entry.state, ended, total)))
    assert [(entry.state, entry.folder.name) for entry in entries] == [
        ("finished", "a-red-duck-0"), ("failed", "empty"), ("finished", "a-blue-duck-4"),
    ]  # fmt: skip
    assert "the scene is empty" in entries[1].error
    assert here.most == 2
    assert heard[0] == ("item 1", "running", 0, 3)
    assert heard[-1] == ("item 3", "finished", 3, 3)
    for entry, kept in zip(entries, ledger(tmp_path / "b"), strict=True):
        assert kept["prompt"] == entry.prompt
        assert kept["state"] == entry.state
        assert kept["error"] == entry.error
        assert (tmp_path / "b" / kept["folder"]) == entry.folder
        assert kept["seconds"] > 0
    assert Run.open(entries[2].folder).recipe.seed == 4
    before = {p: p.stat().st_mtime_ns for p in entries[0].folder.rglob("*")}
    here.asked.clear()
    again = batch()
    assert [order["prompt"] for order in here.asked] == ["a red duck"]  # the one that failed
    assert here.asked[0]["recipe"]["type"] == "Magic3D"
    assert [entry.state for entry in again] == [entry.state for entry in entries]
    assert {p: p.stat().st_mtime_ns for p in entries[0].folder.rglob("*")} == before


@needs_weights
def test_the_page_shows_every_run(tmp_path, here):
    entries = scorelift.batch(["a red duck", EMPTY], out=tmp_path / "b", device="cpu", **FLAT)
    page = (tmp_path / "b" / "index.html").read_text()
    assert page.count("<figure>") == 2
    assert page.count("data:image/jpeg;base64,") == 1
    assert "the scene is empty" in page
    assert "<b>a red duck</b> · seed 0 · " in page
    assert "seed 0, in empty" in page
    links = re.findall(r'href="(.*?)"', page)
    assert links == ["a-red-duck-0/report.html"]  # flat pictures have no asset
    assert (tmp_path / "b" / links[0]).exists()
    assert entries[0].state == "finished"


def test_the_strip_is_the_previews_first_row(tmp_path):
    run = Run.create(tmp_path / "a b&c", "<b>a duck</b>", find_recipe("quick"))
    picture = np.full((256, 512, 3), 40, np.uint8)
    picture[:64] = 200
    write_png(run.path / "preview.png", picture)
    entry = Entry(prompt=run.prompt, seed=1, folder=run.path, state="finished", seconds=3.2)
    page = index_html(tmp_path, [entry])
    source = strip(run.path)
    assert source in page
    assert "<b>a duck" not in page
    assert "&lt;b&gt;a duck" in page
    (run.path / "report.html").write_text("")
    assert 'href="a%20b%26c/report.html"' in index_html(tmp_path, [entry])
    shown = np.asarray(Image.open(BytesIO(base64.b64decode(source.split(",")[1]))))
    assert shown.shape == (64, 512, 3)
    assert abs(int(shown.min()) - 200) < 4
    (run.path / "preview.png").write_bytes(b"no picture")
    assert strip(run.path) is None


def test_the_ledger_is_whole_or_absent(tmp_path, monkeypatch):
    entry = Entry(prompt="a duck", seed=0, folder=tmp_path / "x")
    write_ledger(tmp_path, [entry])
    before = (tmp_path / "batch.json").read_text()
    entry.error = object()
    with pytest.raises(TypeError):
        write_ledger(tmp_path, [entry])
    assert (tmp_path / "batch.json").read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["batch.json"]


@needs_weights
@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["none.txt"], "file: expected a file of prompts"),
        (["p.txt", "--seeds", "0"], "seeds: expected at least 1"),
        (["p.txt", "--workers", "0"], "workers: expected at least 1"),
        (["p.txt", "--recipe", "slow"], "recipe: expected one of"),
        (["p.txt", "--preset", "huge"], "preset: expected one of"),
        (["p.txt", "--steps", "0"], "steps: expected"),
        (["p.txt", "--prior", "imagen"], "prior: expected"),
        (["p.txt", "--device", "tpu"], "--device"),
        (["p.txt", "--shape.stepps", "3"], "--shape.stepps: no such option"),
        (["p.txt", "--recipe", "sjc", "--shape.steps", "3"], "--shape.steps: no such option"),
        (["p.txt", "--until", "dawn"], "until: expected one of"),
        (["p.txt", "--out", "p.txt"], "out: expected a path through folders"),
        (["bad.txt"], "line 2: prompt: the embedded prior does not know 'griffin'"),
        ([], "FILE"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, capsys, words, part):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.txt").write_text("a red duck\n")
    (tmp_path / "bad.txt").write_text("a red duck\na red griffin\n")
    assert main(["batch", *words]) == 2
    told = capsys.readouterr().err
    assert part in told
    assert {p.name for p in tmp_path.iterdir()} == {"p.txt", "bad.txt"}


@pytest.fixture
def at_once(monkeypatch):
    """Runs are finished when they are begun, or fail then."""

    def generate(prompt, *, out, recipe, **_):
        if "empty" in out:
            raise ScoreliftError("it is empty.")
        write_json(Run.create(Path(out), prompt, recipe).path / "metrics.json", {"seconds": 1.0})

    monkeypatch.setattr("scorelift.engine.generate.generate", generate)


@needs_weights
def test_the_best_of_each_prompts_seeds_is_marked(tmp_path, here, at_once, monkeypatch):
    (tmp_path / "p.txt").write_text("a red duck\na blue duck\n")
    asked = []

    def ranked(runs, **_):
        asked.append(len(runs))
        return [{"run": run, "nats": 10.0 - i} for i, run in enumerate(reversed(runs))]

    monkeypatch.setattr(evidence, "rank", ranked)
    words = ["batch", str(tmp_path / "p.txt"), "--device", "cpu", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "one"), "--rank"]) == 0
    assert asked == []  # nothing to choose from
    assert main([*words, "--out", str(tmp_path / "two"), "--seeds", "2", "--rank"]) == 0
    assert asked == [2, 2]
    found = [(row["seed"], row["nats"], row["best"]) for row in ledger(tmp_path / "two")]
    assert found == [(0, 9.0, False), (1, 10.0, True)] * 2
    assert (tmp_path / "two" / "index.html").read_text().count("10.0 nats, <b>best</b>") == 2


@needs_weights
def test_what_cannot_be_ranked_is_told_at_the_end(tmp_path, here, at_once, monkeypatch, capsys):
    rows = [{"prompt": "a red duck", "out": "a"}, {"prompt": "a blue duck", "out": "b"}, EMPTY]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))

    def ranked(runs, **_):
        if "a-0" in runs[0]:
            raise ScoreliftError("run: its checkpoint is gone.")
        return [{"run": run, "nats": 3.0} for run in runs]

    monkeypatch.setattr(evidence, "rank", ranked)
    out = tmp_path / "out"
    assert (
        main(["batch", str(tmp_path / "p.jsonl"), "--out", str(out), "--device", "cpu", "--seeds", "2", "--rank"]) == 1
    )
    said, told = capsys.readouterr()
    assert "(4 of 6 finished)" in said
    assert "line 3: a red duck, seed 0, in empty-0: it is empty." in told
    assert "scorelift: not ranked: a red duck: run: its checkpoint is gone." in told
    assert [row.get("nats") for row in ledger(out)] == [None, None, 3.0, 3.0, None, None]


@needs_weights
@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--recipe", "canvas"], "a 3-D recipe, got 'canvas, which"),
        (["--recipe", "dreamfields"], "pictures, got 'pixels'"),
    ],
)
def test_what_cannot_be_ranked_is_refused_at_once(tmp_path, here, capsys, words, part):
    (tmp_path / "p.txt").write_text("a red duck\n")
    assert main(["batch", str(tmp_path / "p.txt"), "--out", str(tmp_path / "b"), *words, "--rank"]) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


@needs_weights
def test_the_commands_options_are_the_recipes(tmp_path, here, monkeypatch):
    rows = [{"prompt": "a pig"}, {"prompt": "a pig", "picture.size": 32, "seed": 4}]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    monkeypatch.chdir(tmp_path)
    words = ["--recipe", "canvas", "--picture.steps", "2", "--seed", "3", "--prior", "toybox", "--quiet"]
    assert main(["batch", "p.jsonl", *words, "--device", "cpu"]) == 0
    plans = [Run.open(tmp_path / "runs" / "batch" / f"a-pig-{seed}").recipe for seed in (3, 4)]
    assert [(plan.seed, plan.picture.steps, plan.picture.size) for plan in plans] == [(3, 2, 64), (4, 2, 32)]


@needs_weights
def test_the_command_with_two_processes(tmp_path, monkeypatch, capsys):
    (tmp_path / "p.jsonl").write_text("\n".join(json.dumps(row) for row in [EMPTY, {"prompt": "a pig", **FLAT}]))
    words = [sys.executable, "-m", "scorelift", "batch", "p.jsonl", "--workers", "2", "--device", "cpu"]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1, result.stderr
    assert "2/2" in result.stdout
    assert "1 of 2 failed" in result.stderr
    assert "line 1: a red duck, seed 0, in empty: surface: the scene is empty" in result.stderr
    assert "Traceback" not in result.stderr
    assert [run["state"] for run in ledger(tmp_path / "runs" / "batch")] == ["failed", "finished"]
    assert (tmp_path / "runs" / "batch" / "a-pig-0" / "report.html").exists()
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": "a pig", **FLAT}))
    monkeypatch.chdir(tmp_path)
    assert main([*words[3:], "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


@needs_weights
def test_the_traceback_of_what_nobody_foresaw_is_left(tmp_path, here, monkeypatch):
    def broken(prompt, **_):
        raise ZeroDivisionError("by zero")

    batch = partial(scorelift.batch, ["a red duck"], out=tmp_path / "b", device="cpu", **FLAT)
    with monkeypatch.context() as patch:
        patch.setattr("scorelift.engine.generate.generate", broken)
        assert batch()[0].error == "ZeroDivisionError: by zero"
    (run,) = ledger(tmp_path / "b")
    text = (tmp_path / "b" / run["traceback"]).read_text()
    assert text.startswith("Traceback")
    assert "in broken" in text
    assert f'<a href="{run["traceback"]}">' in (tmp_path / "b" / "index.html").read_text()
    assert batch()[0].state == "finished"
    assert "traceback" not in ledger(tmp_path / "b")[0]
    assert not list((tmp_path / "b").glob("*.error.txt"))


@needs_weights
@pytest.mark.parametrize("asked", [False, True])
def test_a_run_that_others_stop_has_failed(tmp_path, here, monkeypatch, capsys, asked):
    def stopped(prompt, **_):
        if asked:
            signal.raise_signal(signal.SIGTERM)  # to the batch as well
        raise Terminated

    monkeypatch.setattr("scorelift.engine.generate.generate", stopped)
    (tmp_path / "p.txt").write_text("a red duck\n")
    code = main(["batch", str(tmp_path / "p.txt"), "--out", str(tmp_path / "b"), "--device", "cpu"])
    said, told = capsys.readouterr()
    ((state, error),) = [(run["state"], run["error"]) for run in ledger(tmp_path / "b")]
    if asked:
        assert (code, state, error) == (143, "stopped", None)
    else:
        assert (code, state) == (1, "failed")
        assert error == "the run was stopped, and not by this batch; what it had done is saved."
        assert "(0 of 1 finished)" in said
        assert f"line 1: a red duck, seed 0: {error}" in told


@needs_weights
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_saves_the_run_and_the_same_command_continues(tmp_path, monkeypatch):
    (tmp_path / "p.txt").write_text("a red duck\na blue duck\n")
    words = [sys.executable, "-m", "scorelift", "batch", "p.txt", "--recipe", "canvas", "--steps", "60", "--out", "b"]
    # A gate may run in the background, where Ctrl-C is ignored and children inherit that.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, preexec_fn=hears)
    log = tmp_path / "b" / "a-red-duck-0" / "log.jsonl"
    while process.poll() is None and not (log.exists() and len(log.read_text().splitlines()) > 3):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "The same command continues" in error
    assert [run["state"] for run in ledger(tmp_path / "b")] == ["stopped", "waiting"]
    assert (tmp_path / "b" / "index.html").exists()
    begun = len(log.read_text().splitlines())
    assert 0 < begun < 60
    assert Run.open(log.parent).latest_checkpoint()[3] == begun
    monkeypatch.chdir(tmp_path)
    assert main(words[3:]) == 0
    assert [run["state"] for run in ledger(tmp_path / "b")] == ["finished"] * 2
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [*range(1, 61)]
