import pytest
from boxes import STEPS, begin, finish, save

from scorelift.core.errors import ScoreliftError
from scorelift.engine.results import scene_at
from scorelift.engine.run import Run
from scorelift.recipes import find_recipe
from scorelift.studio.watching import NEWEST, Shelf, Watch


def test_a_run_is_watched_from_its_beginning_to_its_end(tmp_path):
    run = begin(tmp_path / "r")
    watch = Watch(run.path)
    assert watch.news.pick(NEWEST) is None
    assert "waiting" in watch.news.told(None)
    assert not watch.again()
    for step in (10, 20, 30):
        save(run, step)
        assert watch.again()
        assert not watch.again()
    newest = watch.news.pick(NEWEST)
    assert watch.news.labels == [NEWEST, "field, step 30", "field, step 20"]  # the first is gone
    assert newest.step == 30
    assert watch.news.pick("field, step 20").step == 20
    assert watch.news.pick("field, step 10") == newest
    assert watch.news.told(newest) == f"Stage field, step 30 of {STEPS}. The run is running, or stopped."
    assert watch.news.asset is None
    finish(run)
    assert watch.again()
    assert watch.news.finished
    assert watch.news.asset is not None
    assert "is finished" in watch.news.told(watch.news.pick(NEWEST))


def test_a_run_that_vanishes_is_told(tmp_path):
    run = begin(tmp_path / "r")
    watch = Watch(run.path)
    (run.path / "config.json").unlink()
    assert watch.again()
    assert not watch.again()
    assert "made by `scorelift generate`" in watch.news.told(watch.news.pick(NEWEST))


def test_a_folder_that_cannot_be_read_for_a_while_is_told(tmp_path, monkeypatch):
    watch = Watch(begin(tmp_path / "r").path)

    def broken(path):
        raise PermissionError(13, "no entry")

    with monkeypatch.context() as patch:
        patch.setattr("scorelift.studio.watching.look", broken)
        assert watch.again()
    assert "no entry" in watch.news.trouble
    assert watch.again()
    assert not watch.news.trouble


def test_what_is_no_run_of_three_dimensions_is_refused(tmp_path):
    with pytest.raises(ScoreliftError, match="a folder made by"):
        Watch(tmp_path)
    Run.create(tmp_path / "flat", "a red box", find_recipe("canvas"))
    with pytest.raises(ScoreliftError, match="makes flat pictures: no studio"):
        Watch(tmp_path / "flat")


def test_scenes_are_read_once_and_told_when_they_are_gone(tmp_path):
    run = begin(tmp_path / "r")
    save(run, 10)
    watch, shelf = Watch(run.path), Shelf(run.path, keep=1)
    mark = watch.news.pick(NEWEST)
    first = shelf.scene(mark)
    assert shelf.scene(mark) is first
    assert not any(parameter.requires_grad for parameter in first.parameters())
    save(run, 20)
    watch.again()
    assert shelf.scene(watch.news.pick(NEWEST)) is not first
    mark.path.unlink()
    with pytest.raises(ScoreliftError, match="no such file"):
        shelf.scene(mark)
    with pytest.raises(ScoreliftError, match="with an asset"):
        shelf.asset(0.0)


def test_a_checkpoint_of_another_stage_is_refused(tmp_path):
    run = begin(tmp_path / "r")
    save(run, 10)
    path = run.checkpoints()[0]
    other = path.rename(path.with_name("0-surface-0000010.safetensors"))
    with pytest.raises(ScoreliftError, match="a stage of recipe sjc"):
        scene_at(run, other)
