import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.evaluate.assets import toybox_distractors
from scorelift.evaluate.retrieval import candidates, interval, retrieve
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
