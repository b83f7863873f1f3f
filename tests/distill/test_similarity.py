"""Dream Fields' objective against a scorer whose likeness is known."""

from collections.abc import Sequence

import pytest
import torch

from scorelift.core.diffusion import Level
from scorelift.distill import similarity
from scorelift.distill.base import Terms
from scorelift.distill.similarity import Similarity
from scorelift.priors.analytic import GaussianPrior
from scorelift.toybox.retriever import Retriever
from scorelift.toybox.train import learn_tokenizer


class Brightness:
    """A picture of brightness b and any caption are alike by b."""

    name, size = "brightness", 4

    def embed_pictures(self, rgb: torch.Tensor) -> torch.Tensor:
        return rgb.mean((1, 2, 3))[:, None]

    def embed_texts(self, texts: Sequence[str]) -> torch.Tensor:
        assert list(texts) == ["a red duck"]
        return torch.ones(len(texts), 1)


def gradient(z, monkeypatch, scorer):
    monkeypatch.setattr(similarity, "load_scorer", lambda *_: scorer)
    prior = GaussianPrior(torch.zeros(3, *z.shape[2:]), 1.0)
    full = prior.encode_prompts(["a red duck"] * len(z))
    terms = Terms(full, full, full, prompt="a red duck")
    level = Level.vp(torch.ones(len(z)))
    return Similarity(scale=10.0)(prior, z, terms, level, torch.zeros_like(z)).gradient


def test_gradient_by_hand(monkeypatch):
    got = gradient(torch.zeros(2, 3, 4, 4), monkeypatch, Brightness())
    torch.testing.assert_close(got, torch.full((2, 3, 4, 4), -10.0 * 0.5 / 48))


def test_a_step_makes_the_picture_more_alike(monkeypatch, generator):
    torch.manual_seed(0)
    net = Retriever(learn_tokenizer()).eval().requires_grad_(False)
    z = 0.5 * torch.randn(1, 3, 64, 64, generator=generator)

    def likeness(z):
        return float((net.embed_pictures((z + 1) / 2) * net.embed_texts(["a red duck"])).sum())

    step = gradient(z, monkeypatch, net)
    assert not step.requires_grad
    assert likeness(z - 0.05 * step / step.norm()) > likeness(z)


def test_unknown_scorer_is_told(tmp_path):
    pytest.importorskip("transformers")
    from scorelift.core.errors import ScoreliftError
    from scorelift.distill.scorers import load_scorer

    with pytest.raises(ScoreliftError, match="CLIP model's hub id"):
        load_scorer(str(tmp_path))
