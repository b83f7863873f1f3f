import pytest
from boxes import Window, begin, finish

from scorelift.engine.run import Run


@pytest.fixture(scope="session")
def finished_box(tmp_path_factory) -> Run:
    run = begin(tmp_path_factory.mktemp("studio") / "box")
    finish(run)
    return run


@pytest.fixture
def browser():
    return Window()
