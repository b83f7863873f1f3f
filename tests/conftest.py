"""Shapes are checked at every call: the import hook must be installed before scorelift is imported."""

import pytest
from jaxtyping import install_import_hook

with install_import_hook("scorelift", "typecheck.checked"):
    import scorelift
    import scorelift.engine.generate
    import scorelift.evaluate.prior
    import scorelift.toybox.release
    import scorelift.toybox.sheet  # noqa: F401

import torch


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
