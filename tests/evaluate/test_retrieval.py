import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.evaluate.assets import toybox_distractors
from scorelift.evaluate.retrieval import ClipScorer, candidates, interval, retrieve
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


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory):
    """A CLIP of the real class with real configuration fields, two layers wide, saved and loaded offline."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    vocabulary = {
        token: i for i, token in enumerate(["<|startoftext|>", "<|endoftext|>", "a</w>", "red</w>", "duck</w>"])
    }
    (folder / "vocab.json").write_text(__import__("json").dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 5, "max_position_embeddings": 12, "bos_token_id": 0, "eos_token_id": 1},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
        projection_dim=8,
    )
    transformers.CLIPModel(config).save_pretrained(folder, safe_serialization=True)
    return folder


def test_a_clip_model_scores(tiny_clip):
    scorer = ClipScorer(str(tiny_clip))
    pictures, texts = scorer.embed_pictures(torch.rand(3, 3, 64, 64)), scorer.embed_texts(["a red duck", "a duck"])
    assert pictures.shape == (3, 8)
    assert texts.shape == (2, 8)
    torch.testing.assert_close(pictures.norm(dim=-1), torch.ones(3))
    torch.testing.assert_close(texts.norm(dim=-1), torch.ones(2))


def test_no_such_clip(tmp_path):
    pytest.importorskip("transformers")
    with pytest.raises(ScoreliftError, match="CLIP model's hub id or folder"):
        ClipScorer(str(tmp_path))
