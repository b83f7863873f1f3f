from dataclasses import replace

import pytest
import torch

from scorelift.core.cameras import orbit
from scorelift.core.diffusion import Level
from scorelift.distill.base import Terms
from scorelift.distill.prompts import ViewPrompts
from scorelift.distill.sds import SDS
from scorelift.distill.sjc import SJC
from scorelift.distill.twin import TwinConfig
from scorelift.distill.vsd import APFO, VSD
from scorelift.priors.analytic import GaussianPrior
from scorelift.priors.base import Condition, Prior, ViewWords


class Spelling(Prior):
    """A prior whose conditions spell out the prompt's number, so that choices can be read."""

    name = "spelling"

    def __init__(self, words: ViewWords) -> None:
        self.view_words = words
        self.seen: list[str] = []

    def encode_prompts(self, prompts):
        self.seen = list(prompts)
        return Condition({"row": torch.eye(len(prompts))})

    def predict_x0(self, z_t, level, condition):
        return z_t


def cameras(*views):
    elevation, azimuth = torch.tensor(views, dtype=torch.float32).T
    ones = torch.ones(len(views))
    return orbit(elevation, azimuth, 3 * ones, 40 * ones)


def chosen(prior, condition):
    return [prior.seen[i] for i in condition.tensors["row"].argmax(-1).tolist()]


def test_plain_phrases_as_in_dreamfusion():
    prior = Spelling(ViewWords())
    terms = ViewPrompts(prior, "a duck").terms(cameras((0, 0), (0, 50), (10, 180), (0, 300), (61, 0), (60, 0)))
    assert chosen(prior, terms.full) == [
        "a duck, front view",
        "a duck, side view",
        "a duck, back view",
        "a duck, side view",
        "a duck, overhead view",
        "a duck, front view",
    ]
    assert set(chosen(prior, terms.plain)) == {"a duck"}
    assert set(chosen(prior, terms.uncond)) == {""}


def test_bare_phrases_are_the_papers_whatever_the_prior_knows():
    prior = Spelling(ViewWords(azimuths=("front", "left", "back", "right"), overhead="top", high="high"))
    terms = ViewPrompts(prior, "x", choice="bare").terms(cameras((40, 90), (40, 270), (70, 0)))
    assert chosen(prior, terms.full) == ["x, side view", "x, side view", "x, overhead view"]


def test_phrases_before_the_prompt_and_an_overhead_of_ones_own():
    prior = Spelling(ViewWords())
    prompts = ViewPrompts(prior, "a duck", choice="bare", place="before", overhead_deg=30.0)
    terms = prompts.terms(cameras((0, 0), (29, 180), (31, 180)))
    assert chosen(prior, terms.full) == ["front view of a duck", "back view of a duck", "overhead view of a duck"]


def test_without_phrases_a_twin_still_hears_the_camera():
    views = cameras((0, 0), (29, 180))
    terms = ViewPrompts(Spelling(ViewWords()), "a duck", choice="none").terms(views)
    assert torch.equal(terms.pose, views.c2w[:, :3].flatten(1))


def test_fine_phrases_tell_left_from_right():
    words = ViewWords(
        azimuths=("front", "front left", "left", "back left", "back", "back right", "right", "front right"),
        overhead="top",
        overhead_with_azimuth=True,
        high="high",
        low="low",
    )
    prior = Spelling(words)
    terms = ViewPrompts(prior, "x").terms(cameras((20, 90), (20, 270), (40, 44), (0, -40), (70, 180)))
    assert chosen(prior, terms.full) == [
        "x, left",
        "x, right",
        "x, front left, high",
        "x, front right, low",
        "x, top, back",
    ]


def test_interpolation_weighs_the_neighbours():
    prior = Spelling(ViewWords())
    prompts = ViewPrompts(prior, "x", choice="interpolated")
    rows = prompts.terms(cameras((10, 30), (10, 0), (80, 10))).full.tensors["row"]
    front, side, over = (prior.seen.index(f"x, {name} view") for name in ("front", "side", "overhead"))
    torch.testing.assert_close(rows[0, [front, side]], torch.tensor([2 / 3, 1 / 3]))
    assert rows[1, front] == 1
    torch.testing.assert_close(rows[2, over], torch.tensor(1.0))
    torch.testing.assert_close(rows.sum(1), torch.ones(3))


def test_no_phrases_and_a_negative_prompt():
    prior = Spelling(ViewWords())
    terms = ViewPrompts(prior, "x", choice="none", negative="blurry").terms(cameras((0, 0)))
    assert prior.seen == ["blurry", "x"]
    assert chosen(prior, terms.full) == ["x"]
    assert chosen(prior, terms.uncond) == ["blurry"]


def test_terms_make_guidance_at_any_batch():
    prior = Spelling(ViewWords())
    terms = ViewPrompts(prior, "x").terms(cameras((0, 0), (0, 180), (0, 90)))
    assert [w for _, w in terms.guidance(7.5).terms] == [7.5, -6.5]
    apart = terms.guidance(5.0, 9.0).terms
    assert [w for _, w in apart] == [9.0, -4.0, -4.0]
    assert all(len(condition) == 3 for condition, _ in apart)


def test_other_views_are_opposed_by_how_far_they_are():
    words = ViewWords(azimuths=("front", "left", "back", "right"))
    prior = Spelling(words)
    terms = ViewPrompts(prior, "x").terms(cameras((0, 0), (0, 90), (80, 0), (0, 45)))
    table = {chosen(prior, c)[0]: amount for c, amount in terms.opposed}
    assert set(table) == {"x, front", "x, left", "x, back", "x, right"}
    torch.testing.assert_close(table["x, back"], torch.tensor([1.0, 0.5, 0.0, 0.5 + 0.125**0.5]))
    torch.testing.assert_close(table["x, front"], torch.tensor([0.0, 0.5, 0.0, 0.5 - 0.125**0.5]), atol=1e-6, rtol=0)


def test_a_phrase_for_both_sides_opposes_neither():
    terms = ViewPrompts(Spelling(ViewWords()), "x").terms(cameras((0, 90), (0, 270), (0, 0)))
    side = dict(zip(("front", "side", "back"), (a for _, a in terms.opposed), strict=True))["side"]
    torch.testing.assert_close(side, torch.tensor([0.0, 0.0, 0.5]), atol=1e-6, rtol=0)


IDENTITY = TwinConfig(kind="identity")
METHODS = (SDS(), SJC(), VSD(twin=IDENTITY), APFO(twin=IDENTITY))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: type(method).__name__)
def test_every_distiller_pushes_opposed_views_away(method):
    """Of two numbers the prompt says (1, 0), another view (0, 1): D = (1, 0) / 2 and (0, 1) / 2, guidance doubles."""
    said, other, nothing = (torch.tensor(x).view(2, 1, 1) for x in ([1.0, 0.0], [0.0, 1.0], [0.0, 0.0]))
    prior = GaussianPrior(said, 1.0, unconditional=nothing)
    full, uncond = prior.encode_prompts(["x"]), prior.encode_prompts([""])
    terms = Terms(full, full, uncond, opposed=((Condition({"mean": other[None]}), torch.tensor([0.5])),))
    level = replace(Level.vp(torch.ones(1)), decay=torch.ones(1))
    z = torch.zeros(1, 2, 1, 1)
    for strength, pushed in ((0.0, 0.0), (0.8, -0.4)):
        x0 = replace(method, cfg_scale=2.0, perp_neg=strength)(prior, z, terms, level, torch.zeros_like(z)).x0
        torch.testing.assert_close(x0.flatten(), torch.tensor([1.0, pushed]))
