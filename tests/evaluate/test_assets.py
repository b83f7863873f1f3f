"""Marks of runs, with an untrained judge and retriever: what is measured and what is refused, not how well."""

import dataclasses
import json

import pytest
import torch

import scorelift
from scorelift.core.errors import ScoreliftError
from scorelift.evaluate import assets
from scorelift.evaluate.assets import Cameras30, Evaluation, as_markdown, evaluate_runs
from scorelift.priors.toybox import weights_path
from scorelift.recipes.base import Finish
from scorelift.toybox.judge import Judge

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
    monkeypatch.setattr(assets, "load_scorer", lambda _: untrained_scorer)


def test_every_mark_is_there(run, untrained):
    result = evaluate_runs([run, run], SMALL)
    first, second = result["runs"]
    assert first == second
    assert all(value is not None for value in first.values())
    assert 0 <= first["r1_albedo"] <= first["r10_albedo"] <= 1
    assert 0 < first["iou"] < 1
    assert result["mean"]["chamfer"]["n"] == 2
    assert result["settings"]["candidates"] == 13
    json.dumps(result)
    table = as_markdown(result).splitlines()
    assert "over 13 captions" in table[0]
    assert "with care" in table[1]
    assert table[-2].startswith("| duck | a yellow duck |")
    assert len({line.count("|") for line in table[3:]}) == 1


def test_distractors_may_be_given(run, untrained):
    assert evaluate_runs([run], SMALL, ["a red car", "a blue boat"])["settings"]["candidates"] == 3
    with pytest.raises(ScoreliftError, match="more than once"):
        evaluate_runs([run], SMALL, ["a red car", "a red car"])
    with pytest.raises(ScoreliftError, match="at least two"):
        evaluate_runs([run], SMALL, ["a yellow duck"])


def test_what_cannot_be_measured_is_refused(run, untrained, tmp_path):
    with pytest.raises(ScoreliftError, match="at least one finished run"):
        evaluate_runs([], SMALL)
    flat = scorelift.generate("a yellow duck", out=tmp_path / "flat", recipe="canvas", steps=1, quiet=True)
    with pytest.raises(ScoreliftError, match="3-D recipe"):
        evaluate_runs([flat], SMALL)
    (tmp_path / "flat" / "metrics.json").unlink()
    with pytest.raises(ScoreliftError, match="finished run"):
        evaluate_runs([scorelift.Run.open(tmp_path / "flat")], SMALL)
