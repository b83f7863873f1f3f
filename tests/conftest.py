"""Shapes are checked at every call: the import hook must be installed before scorelift is imported."""

import dataclasses

import pytest
from jaxtyping import install_import_hook

with install_import_hook("scorelift", "typecheck.checked"):
    import scorelift
    import scorelift.engine.generate
    import scorelift.evaluate.prior
    import scorelift.toybox.release
    import scorelift.toybox.sheet  # noqa: F401

import torch

from scorelift.distill.scorers import ToyboxScorer
from scorelift.toybox.retriever import Retriever
from scorelift.toybox.train import learn_tokenizer


@pytest.fixture(scope="session")
def dense():
    """The default recipe with Gaussians that stop light from the start, for a surface after a few steps."""

    def thicken(recipe):
        shape = dataclasses.replace(recipe.shape, scene=dataclasses.replace(recipe.shape.scene, opacity=0.9))
        surface = dataclasses.replace(recipe.surface, scene=dataclasses.replace(recipe.surface.scene, resolution=12))
        return recipe.with_stages({"shape": shape, "surface": surface})

    return thicken


@pytest.fixture(scope="session")
def untrained_scorer():
    """The closed world's scorer with a retriever that knows nothing."""
    torch.manual_seed(0)
    return ToyboxScorer(Retriever(learn_tokenizer(captions=500)).eval())


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
