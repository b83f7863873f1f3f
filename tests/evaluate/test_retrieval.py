import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.evaluate.assets import toybox_distractors, toybox_shapes
from scorelift.evaluate.retrieval import candidates, interval, meaning, of_each_shape, retrieve, shape, summary
from scorelift.toybox.grammar import parse


def test_ranks_by_hand():
    texts = torch.eye(12)
    pictures = torch.tensor([[1.0] + [0.0] * 11, [0.3, 0.9] + [0.0] * 10, list(range(12, 0, -1))])
    found = retrieve(torch.nn.functional.normalize(pictures, dim=-1), texts, [0, 0, 11])
    assert found.r1.tolist() == [1.0, 0.0, 0.0]
    assert found.r10.tolist() == [1.0, 1.0, 0.0]


def test_ties_count_against():
    found = retrieve(torch.ones(1, 2), torch.ones(3, 2), [1])
    assert found.r1.tolist() == [0.0]


def test_candidates_are_own_captions_and_others():
    choices, own = candidates(["a", "b", "a"], ["c", "b"])
    assert choices == ["a", "b", "c"]
    assert own == [0, 1, 0]
    with pytest.raises(ScoreliftError, match=r"'c' more than once"):
        candidates(["a"], ["c", "c"])
    with pytest.raises(ScoreliftError, match="at least two"):
        candidates(["a"], ["a"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a cat", "an orange cat"),
        ("a photo of a kitty, front view", "a cat"),
        ("a white duck with black stripes", "a striped white duck"),
        ("a duck wearing a scarf", "a yellow duck with a red scarf"),
        ("a mug on a table", "a mug standing on a brown table"),
    ],
)
def test_captions_of_one_meaning(one, other):
    assert meaning(one) == meaning(other)
    assert candidates([one], [other, "a blue boat"]) == ([one, "a blue boat"], [0])


def test_captions_of_other_meanings():
    texts = ["a cat", "a red cat", "a striped cat", "a cat wearing a scarf", "a cat on a table", "a corgi", "a griffin"]
    assert len({meaning(text) for text in texts}) == len(texts)


def test_no_distractor_means_what_an_asset_is():
    plain = toybox_distractors(20)
    (first, *_), others = plain, toybox_distractors(20, captions=plain[:5])
    assert len(set(others)) == 20
    assert not {meaning(text) for text in plain[:5]} & {meaning(text) for text in others}
    assert first in toybox_distractors(20, captions=["a corgi"])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("a cat", "a striped blue kitty, front view", True),
        ("a duck wearing a red scarf and glasses", "a pink duck with glasses and a scarf", True),
        ("a duck", "a duck wearing a scarf", False),
        ("a mug", "a mug on a table", False),
        ("a cat", "a rabbit", False),
        ("a corgi", "a corgi", True),
        ("a corgi", "a red corgi", False),
    ],
)
def test_captions_of_one_shape(one, other, same):
    assert (shape(one) == shape(other)) is same
    assert of_each_shape([one, other]) == ([one] if same else [one, other])


def test_shapes_to_choose_from_all_differ():
    own = ["a red duck", "a blue duck", "a car"]
    texts = toybox_shapes(160, 0, own)
    assert len(texts) == 160
    assert len({shape(text) for text in [*texts, "a duck", "a car"]}) == 162
    assert texts == toybox_shapes(160, 0, own) != toybox_shapes(160, 1, own)
    assert 300 < len(toybox_shapes(1000)) < 400  # what there are


def test_seeds_of_one_prompt_are_drawn_together():
    values, prompts = [0.0, 0.0, 0.0, 1.0, 1.0, 1.0], ["a"] * 3 + ["b"] * 3
    assert interval(values, prompts) == (0.5, 0.0, 1.0)  # two prompts: one in four draws has one of them alone
    assert interval(values)[1:] != (0.0, 1.0)
    assert interval(values, range(6)) == interval(values)
    uneven = interval([0.0, 1.0, 1.0, 1.0], ["a", "b", "b", "b"])
    assert uneven[0] == 0.75
    assert summary(values, prompts) == {"mean": 0.5, "low": 0.0, "high": 1.0, "n": 2}
    assert summary([0.5])["n"] == 1


def test_intervals_cover():
    mean, low, high = interval([0.0] * 50 + [1.0] * 50)
    assert mean == 0.5
    assert 0.38 < low < 0.43
    assert 0.57 < high < 0.62
    assert interval([0.7, 0.7]) == pytest.approx((0.7, 0.7, 0.7))


def test_distractors_differ_and_are_captions():
    texts = toybox_distractors(60)
    assert len(set(texts)) == 60
    assert texts == toybox_distractors(60)
    assert all(parse(text) for text in texts)
