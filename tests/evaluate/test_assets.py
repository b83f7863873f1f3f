"""Marks of runs, with an untrained judge and retriever: what is measured and what is refused, not how well."""

import dataclasses
import json
from functools import partial

import pytest
import torch

import scorelift
from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.evaluate import assets
from scorelift.evaluate.assets import Cameras30, Evaluation, Yardstick, evaluate_runs, true_pictures
from scorelift.evaluate.tables import as_markdown
from scorelift.priors.toybox import weights_path
from scorelift.recipes.base import Finish
from scorelift.toybox.judge import Judge
from scorelift.toybox.truth import Truth

pytestmark = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")
TINY = Finish(mesh_resolution=40, faces=500, texture=64, turntable_frames=2, turntable_size=32, preview_size=24)
SMALL = Evaluation(distractors=12, cameras=Cameras30(azimuths=3))


@pytest.fixture(scope="module")
def run(tmp_path_factory, dense):
    out = tmp_path_factory.mktemp("assets") / "duck"
    recipe = dense(dataclasses.replace(scorelift.find_recipe("quick"), finish=TINY))
    return scorelift.generate("a yellow duck", out=out, recipe=recipe, steps=2, device="cpu", quiet=True)


@pytest.fixture
def untrained(monkeypatch, untrained_scorer):
    torch.manual_seed(0)
    judge = Judge().eval()
    monkeypatch.setattr(assets, "load_judge", lambda: (judge, {}))
    monkeypatch.setattr(assets, "compare_geometry", partial(assets.compare_geometry, samples=300, grid=16))
    monkeypatch.setattr(assets, "load_scorer", lambda *_: untrained_scorer)


def test_every_mark_is_there(run, untrained):
    result = evaluate_runs([run, run], SMALL)
    first, second = result["runs"]
    assert first == second
    assert all(value is not None for value in first.values())
    assert 0 <= first["r1_albedo"] <= first["r10_albedo"] <= 1
    assert 0 < first["iou"] < 1
    assert result["mean"]["chamfer"]["n"] == 1  # two runs, but one prompt
    assert result["truth"]["r1_albedo"]["mean"] in (
        0,
        pytest.approx(1 / 3, abs=1e-4),
        pytest.approx(2 / 3, abs=1e-4),
        1,
    )
    assert {"object", "janus"} < result["truth"].keys()
    assert result["settings"]["candidates"] == 13
    json.dumps(result)
    table = as_markdown(result).splitlines()
    assert "over 13 captions" in table[0]
    assert "with care" in table[1]
    assert table[-3].startswith("| duck | a yellow duck |")
    assert "(n = 1)" in table[-2]
    assert len({line.count("|") for line in table[3:]}) == 1


def test_distractors_may_be_given(run, untrained):
    assert evaluate_runs([run], SMALL, ["a red car", "a blue boat"])["settings"]["candidates"] == 3
    with pytest.raises(ScoreliftError, match="more than once"):
        evaluate_runs([run], SMALL, ["a red car", "a red car"])
    with pytest.raises(ScoreliftError, match="at least two"):
        evaluate_runs([run], SMALL, ["a yellow duck"])


def test_colour_is_no_matter_among_shapes(run, untrained):
    """A caption of the run's own shape is no rival of pictures without colour; alone, it is always found."""
    (marks,) = evaluate_runs([run], SMALL, ["a red duck", "a striped blue duck"])["runs"]
    assert marks["r1_shape"] == 1
    (among,) = evaluate_runs([run], SMALL, ["a red duck", "a blue boat", "a cat", "a mug"])["runs"]
    (bare,) = evaluate_runs([run], SMALL, ["a blue boat", "a cat", "a mug"])["runs"]
    assert among["r1_shape"] == bare["r1_textureless"]


def test_true_pictures_have_their_own_light():
    cameras = Cameras30(azimuths=9).ring()
    albedo, shaded, bare = (
        true_pictures(Truth("a red mug"), cameras, 16, m) for m in ("albedo", "shaded", "textureless")
    )
    assert albedo.shape == (9, 3, 16, 16)
    assert float((albedo - shaded).min()) > -1e-5  # light takes away
    assert float((albedo - shaded).max()) > 0.1
    assert float((bare.amax(1) - bare.amin(1)).max()) < 1e-5  # grey


def test_another_world_needs_another_scorer(run, untrained):
    """The offline retriever cannot rank it; a CLIP can, but the closed world has no truth of it."""
    with pytest.raises(ScoreliftError, match=r"^prompt: .*'a corgi'.*--scorer"):
        Yardstick(["a yellow duck", "a corgi"], SMALL)
    clip = dataclasses.replace(SMALL, scorer="some/clip")
    with pytest.raises(ScoreliftError, match=r"^captions: expected a file of captions of the world of 'a corgi'"):
        Yardstick(["a corgi"], clip)
    clip = Yardstick(["a corgi"], clip, [f"a {i}th griffin" for i in range(12)])
    assert clip.truth() is None
    corgi = scorelift.Run(run.path, {**run.config, "prompt": "a corgi"})
    marks = clip.marks(corgi)
    assert marks["kind_shaded"] is marks["chamfer"] is None
    assert 0 <= marks["r10_shaded"] <= 1


@pytest.mark.parametrize("form", ["md", "json"])
def test_the_command_writes_what_it_found(run, untrained, tmp_path, capsys, form, monkeypatch):
    (tmp_path / "captions.txt").write_text("a red car\n\na blue boat\n")
    out = tmp_path / "new" / f"table.{form}"
    words = ["evaluate", str(run.path), "--captions", str(tmp_path / "captions.txt"), "--cameras.azimuths", "3"]
    assert main([*words, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "over 3 captions" in said
    assert said.rstrip().endswith(str(out))
    text = out.read_text()
    assert text in said if form == "md" else json.loads(text)["settings"]["candidates"] == 3


@pytest.mark.parametrize("made", [None, b"\xff\xfe\xff"])
def test_captions_that_cannot_be_read(run, untrained, tmp_path, capsys, made):
    path = tmp_path / "captions.txt"
    if made is not None:
        path.write_bytes(made)
    assert main(["evaluate", str(run.path), "--captions", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("scorelift: captions: expected a file of captions")
    assert len(said.splitlines()) == 1


def test_what_cannot_be_measured_is_refused(run, untrained, tmp_path):
    with pytest.raises(ScoreliftError, match="at least one finished run"):
        evaluate_runs([], SMALL)
    flat = scorelift.generate("a yellow duck", out=tmp_path / "flat", recipe="canvas", steps=1, quiet=True)
    with pytest.raises(ScoreliftError, match="3-D recipe"):
        evaluate_runs([flat], SMALL)
    with pytest.raises(ScoreliftError, match=r"cameras\.azimuths"):
        Cameras30(azimuths=0)
    (tmp_path / "flat" / "metrics.json").unlink()
    with pytest.raises(ScoreliftError, match="finished run"):
        evaluate_runs([scorelift.Run.open(tmp_path / "flat")], SMALL)
