"""A prior's evidence: exact where log p is known; for truth against what is not; what the command says."""

import dataclasses
import json
import math

import pytest
import torch

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.engine.generate import generate
from scorelift.engine.run import Run
from scorelift.evaluate.assets import true_pictures
from scorelift.evaluate.evidence import Evidence, gather, rank
from scorelift.priors.analytic import EmpiricalPrior, GaussianPrior
from scorelift.priors.registry import load_prior
from scorelift.recipes import find_recipe
from scorelift.recipes.base import Finish
from scorelift.toybox.truth import Truth


def test_of_a_gaussian_it_is_the_log_likelihood_ratio():
    generator = torch.Generator().manual_seed(0)
    mean, other, std = torch.randn(3, 4, 4, generator=generator), torch.zeros(3, 4, 4), 0.7
    pictures = torch.rand(3, 3, 4, 4, generator=generator)
    z = pictures * 2 - 1
    known = ((z - other).square() - (z - mean).square()).flatten(1).sum(1) / (2 * std**2)
    settings = Evidence(views=3, levels=100, sigma=(1e-3, 1e3))
    found = gather(GaussianPrior(mean, std, unconditional=other), "x", pictures, settings.ring(), settings)
    torch.testing.assert_close(found.words, known, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.view, torch.zeros(3))  # it knows of no views


def test_a_prior_of_several_views_sees_them_in_groups():
    class Four(GaussianPrior):
        views = 4

        def seen(self, condition, cameras):
            return condition

    settings = Evidence(views=8, levels=2)
    cameras = settings.ring(4)
    assert [round(a) for a in cameras.azimuth_deg.tolist()] == [0, 90, 180, 270, 45, 135, 225, 315]
    found = gather(Four(torch.ones(3, 4, 4), 0.5), "x", torch.ones(8, 3, 4, 4), cameras, settings)
    assert found.words.shape == (8,)
    with pytest.raises(ScoreliftError, match="views: expected a multiple of 4"):
        Evidence(views=6).ring(4)


def test_of_known_pictures_it_is_the_surprise_of_their_group():
    generator = torch.Generator().manual_seed(0)
    known = torch.rand(8, 3, 8, 8, generator=generator) * 2 - 1
    prior = EmpiricalPrior({"a": known[:2], "b": known[2:]})
    settings = Evidence(views=2, levels=400, sigma=(1e-2, 1e2))
    cameras = settings.ring()

    def phrased(prompt, pictures):
        return gather(prior, prompt, (pictures + 1) / 2, cameras, settings).words

    prior.encode_prompts = lambda prompts, plain=prior.encode_prompts: plain([p.split(",")[0] for p in prompts])
    # log p(x | a) - log p(x) = log(1/2) - log(1/8), by a handful of noise draws
    torch.testing.assert_close(phrased("a", known[:2]), torch.full((2,), math.log(4)), rtol=0.15, atol=0)
    assert (phrased("b", known[:2]) < -10).all()


def test_the_prior_tells_true_objects_from_others():
    prior, settings = load_prior("toybox"), Evidence(views=4, levels=4)
    cameras = settings.ring()
    duck = true_pictures(Truth("a yellow duck"), cameras, 64, "shaded")
    car = true_pictures(Truth("a red car"), cameras, 64, "shaded")

    def mean(prompt, pictures):
        nats = gather(prior, prompt, pictures, cameras, settings)
        return float(nats.words.mean()), float(nats.view.mean())

    right, turned = mean("a yellow duck", duck), mean("a yellow duck", duck.roll(2, 0))
    assert right[0] > 0 > mean("a yellow duck", car)[0]
    assert right[1] > 0 > turned[1]  # seen from the front where it should be seen from behind


@pytest.fixture(scope="module")
def pair(tmp_path_factory, dense):
    """Two seeds of a tiny run."""
    folder = tmp_path_factory.mktemp("pair")
    tiny = Finish(mesh_resolution=40, faces=500, texture=64, turntable_frames=2, turntable_size=32, preview_size=24)
    recipe = dataclasses.replace(dense(find_recipe("quick")), finish=tiny).with_steps(2)
    seeds = (dataclasses.replace(recipe, seed=seed) for seed in (0, 1))
    return [str(generate("a red mushroom", recipe=r, out=folder / str(r.seed), quiet=True).path) for r in seeds]


def test_runs_in_their_order(pair, tmp_path, capsys):
    out = tmp_path / "rank.json"
    assert main(["rank", *pair, "--views", "2", "--levels", "2", "--out", str(out)]) == 0
    said, rows = capsys.readouterr().out, json.loads(out.read_text())["runs"]
    assert sorted(row["run"] for row in rows) == sorted(pair)
    assert rows[0]["nats"] >= rows[1]["nats"]
    for row in rows:
        assert row["nats"] == pytest.approx(row["words"] + row["view"], abs=1e-2)
        assert row["interval"][0] <= row["nats"] <= row["interval"][1]
    assert said.index(rows[0]["run"]) < said.index(rows[1]["run"])


def test_a_single_run(pair):
    settings = Evidence(views=1, levels=1)
    ((one,), (same,)) = rank(pair[0], settings), rank(Run.open(pair[0]), settings)
    assert one["run"] == pair[0]
    assert one == same
    with pytest.raises(ScoreliftError, match="runs: expected different runs"):
        rank([pair[0], pair[0] + "/."], settings)


def test_what_cannot_be_ranked(pair, tmp_path, capsys):
    assert main(["rank"]) == main(["rank", str(tmp_path)]) == main(["rank", pair[0], "--prior", "imagen"]) == 2
    told = capsys.readouterr().err.splitlines()
    runs = [Run.open(path) for path in pair]
    runs[1].recipe = dataclasses.replace(runs[1].recipe, prior="another")
    with pytest.raises(ScoreliftError, match=r"by one prior.*toybox and another.*--prior"):
        rank(runs)
    assert "run: expected folders of finished runs, got 'none'" in told[0]
    assert "run: expected" in told[1]
    assert "prior: " in told[2]


def test_bad_settings():
    with pytest.raises(ScoreliftError, match="sigma: expected two rising numbers"):
        Evidence(sigma=(2.0, 1.0))
    with pytest.raises(ScoreliftError, match="views: expected at least 1"):
        Evidence(views=0)
