"""Tiny checkpoints, made once."""

import pytest


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory):
    """A folder for each kind of checkpoint; encoded prompts are kept beside them, not in the user's cache."""
    tiny = pytest.importorskip("tiny")
    folder = tmp_path_factory.mktemp("checkpoints")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCORELIFT_CACHE", str(folder / "cache"))
        yield {kind: tiny.save(kind, folder) for kind in tiny.KINDS}


@pytest.fixture(scope="session")
def folders(checkpoints, tmp_path_factory):
    """MVDream's as well."""
    tiny = pytest.importorskip("tiny")
    return {**checkpoints, "multiview": tiny.multiview(tmp_path_factory.mktemp("multiview"))}
