import pytest
import torch

from elsewhere import AWAY, elsewhere
from scorelift.core.errors import ScoreliftError
from scorelift.distill.scorers import ClipScorer


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


def test_a_clip_sees_what_its_own_processor_shows_it(tiny_clip):
    processor = pytest.importorskip("transformers").CLIPImageProcessor
    scorer, rgb = ClipScorer(str(tiny_clip)), torch.rand(2, 3, 32, 32)
    shown = processor(do_resize=False, do_center_crop=False, do_rescale=False)(list(rgb), return_tensors="pt")
    features = scorer.model.visual_projection(scorer.model.vision_model(**shown).pooler_output)
    torch.testing.assert_close(scorer.embed_pictures(rgb), torch.nn.functional.normalize(features, dim=-1))


def test_no_such_clip(tmp_path):
    pytest.importorskip("transformers")
    for name in (str(tmp_path), "nobody"):
        with pytest.raises(ScoreliftError, match=r"CLIP model's hub id \(owner/name\) or folder"):
            ClipScorer(name)


def test_a_clip_scores_differentiably(tiny_clip):
    scorer = ClipScorer(str(tiny_clip))
    rgb = torch.rand(1, 3, 64, 64, requires_grad=True)
    (scorer.embed_pictures(rgb) @ scorer.embed_texts(["a red duck"]).T).sum().backward()
    assert rgb.grad is not None
    assert float(rgb.grad.abs().max()) > 0


def test_a_clip_works_where_it_is_asked_to(tiny_clip):
    rgb = torch.rand(1, 3, 64, 64)
    here = ClipScorer(str(tiny_clip))
    with elsewhere():
        there = ClipScorer(str(tiny_clip), AWAY)
        likeness = there.embed_pictures(rgb.to(AWAY)) @ there.embed_texts(["a red duck"]).T
        assert likeness.device.type == AWAY
        found = likeness.cpu()
    torch.testing.assert_close(found, here.embed_pictures(rgb) @ here.embed_texts(["a red duck"]).T)
