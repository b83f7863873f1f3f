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
    """The recipe with voxels that stop light from the start, so that a surface is there after a few steps."""

    def thicken(recipe):
        stages = {
            name: dataclasses.replace(stage, scene=dataclasses.replace(stage.scene, density_scale=40.0))
            for name, stage in recipe.stages().items()
        }
        return recipe.with_stages(stages)

    return thicken


@pytest.fixture(scope="session")
def untrained_scorer():
    """The closed world's scorer with a retriever that knows nothing."""
    torch.manual_seed(0)
    return ToyboxScorer(Retriever(learn_tokenizer()).eval())


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
