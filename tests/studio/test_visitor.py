import math

import numpy as np
import pytest
from boxes import begin, finish, save

from scorelift.studio.visitor import FROM_GLTF, Visitor
from scorelift.studio.watching import Shelf, Watch


def visit(run, browser, source="scene"):
    visitor = Visitor(browser, Watch(run.path), Shelf(run.path), source)
    visitor.paint(48, True)
    return visitor


def test_controls_change_the_picture(finished_box, browser):
    visitor = visit(finished_box, browser)
    assert browser.pictures[-1].shape == (32, 48, 3)
    for control, value in (
        (visitor.shown, "colours"), (visitor.shown, "normals"), (visitor.shown, "depth"),
        (visitor.shown, "lit, without colour"), (visitor.follows, False), (visitor.azimuth, 90),
        (visitor.elevation, -40), (visitor.ambient, 1.0),
    ):  # fmt: skip
        visitor.painter._changed.clear()
        control.set(value)
        assert visitor.painter._changed.is_set()
        visitor.paint(48, True)
        assert np.abs(browser.pictures[-1].astype(int) - browser.pictures[-2]).max() > 5, value
    browser.camera.position = np.array([0.0, 0.0, 3.0])
    visitor.paint(48, True)
    assert np.abs(browser.pictures[-1].astype(int) - browser.pictures[-2]).max() > 5
    assert "a \\*red\\* box" in visitor.text.content
    assert "recipe sjc" in visitor.text.content
    assert "step 40 of 40. The run is finished" in visitor.text.content


def test_the_light_goes_where_it_is_put(finished_box, browser):
    visitor = visit(finished_box, browser)  # from +x: the browser's right is the world's +y
    for control, value in ((visitor.shown, "lit, without colour"), (visitor.follows, False), (visitor.ambient, 0.0)):
        control.set(value)
    browser.camera.position, bright = np.array([2.5, 0.0, 0.0]), []
    for azimuth, elevation in ((0, 0), (0, 90), (180, 0)):
        visitor.azimuth.set(azimuth)
        visitor.elevation.set(elevation)
        visitor.paint(48, True)
        bright.append(float(browser.pictures[-1][16, 24].mean()))
    front, above, behind = bright
    assert front > 200
    assert above < front / 2
    assert behind < 30


def test_new_checkpoints_are_shown_as_they_come(tmp_path, browser):
    run = begin(tmp_path / "r")
    visitor = visit(run, browser)
    assert browser.pictures[-1].std() == 0
    assert "waiting for the first" in visitor.text.content
    seen = []
    for step, size in ((10, 0.4), (20, 1.0)):
        save(run, step, size)
        assert visitor.watch.again()
        visitor.heard()
        visitor.paint(48, True)
        assert f"step {step}" in visitor.text.content
        seen.append((browser.pictures[-1] != browser.pictures[0][0, 0]).any(-1).sum())
    assert seen[1] > 1.5 * seen[0] > 0
    visitor.checkpoint.set("field, step 10")
    visitor.paint(48, True)
    assert (browser.pictures[-1] != browser.pictures[0][0, 0]).any(-1).sum() == seen[0]


def test_a_checkpoint_that_was_just_replaced(tmp_path, browser):
    run = begin(tmp_path / "r")
    save(run, 10)
    visitor = Visitor(browser, Watch(run.path), Shelf(run.path), "scene")
    for step in (20, 30):
        save(run, step)  # the first is removed by now
    visitor.paint(48, True)
    assert "step 30" in visitor.text.content
    assert browser.pictures[-1].std() > 5


def test_what_cannot_be_read_is_told(tmp_path, browser):
    run = begin(tmp_path / "r")
    save(run, 10)
    path = run.checkpoints()[0]
    path.write_bytes(path.read_bytes()[:500])
    visitor = visit(run, browser)
    assert "damaged" in visitor.text.content
    assert browser.pictures[-1].std() == 0


@pytest.mark.parametrize("error", [MemoryError("no room"), PermissionError(13, "no entry"), ZeroDivisionError("by 0")])
def test_whatever_goes_wrong_is_told_and_the_next_picture_comes(finished_box, browser, monkeypatch, error):
    def broken(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("scorelift.studio.visitor.frame", broken)
        visitor = visit(finished_box, browser)
    assert browser.pictures[-1].std() == 0
    assert type(error).__name__ in visitor.text.content
    visitor.paint(48, True)
    assert browser.pictures[-1].std() > 5
    assert "finished" in visitor.text.content


def test_a_truncated_mesh_is_told(tmp_path, browser):
    run = begin(tmp_path / "r")
    finish(run)
    path = run.path / "asset.glb"
    path.write_bytes(path.read_bytes()[:300])
    visitor = visit(run, browser, "mesh")
    visitor.shown.set("normals")
    visitor.paint(48, True)
    assert "damaged" in visitor.text.content


@pytest.mark.parametrize(("aspect", "shape"), [(0.0, (48, 2, 3)), (math.inf, (48, 48, 3)), (math.nan, (48, 48, 3))])
def test_collapsed_windows(finished_box, browser, aspect, shape):
    browser.camera.aspect = aspect
    visitor = visit(finished_box, browser)
    assert browser.pictures[-1].shape == shape
    assert "finished" in visitor.text.content


def test_the_one_before_a_damaged_checkpoint_is_shown(tmp_path, browser):
    run = begin(tmp_path / "r")
    for step in (10, 20):
        save(run, step)
    path = run.checkpoints()[-1]
    path.write_bytes(path.read_bytes()[:500])
    visitor = visit(run, browser)
    assert "damaged" in visitor.text.content
    assert "Shown is the one before it. Stage field, step 10 of" in visitor.text.content
    assert browser.pictures[-1].std() > 5
    visitor.checkpoint.set("field, step 20")  # asked for by name
    visitor.paint(48, True)
    assert "Shown" not in visitor.text.content
    assert browser.pictures[-1].std() == 0


def test_the_mesh_is_the_browsers_own(finished_box, browser):
    visitor = visit(finished_box, browser, "mesh")
    data, wxyz, mesh = browser.meshes[0]
    assert data == (finished_box.path / "asset.glb").read_bytes()
    assert wxyz == FROM_GLTF
    assert mesh.visible
    assert browser.pictures[-1].std() == 0  # the backdrop alone
    around, lamp = visitor._lights
    assert around.intensity == pytest.approx(0.4 * math.pi)
    assert lamp.intensity == pytest.approx(0.6 * math.pi)
    assert lamp.position == pytest.approx((3.0, 0.0, 1.2), abs=1e-6)  # above the camera's shoulder
    visitor.shown.set("colours")
    visitor.paint(48, True)
    assert (around.intensity, lamp.intensity) == (pytest.approx(math.pi), 0)
    visitor.shown.set("normals")
    visitor.paint(48, True)
    assert not mesh.visible
    assert browser.pictures[-1].shape == (32, 48, 3)
    visitor.source.set("scene")
    visitor.paint(48, True)
    assert not mesh.visible
    visitor.source.set("mesh")
    visitor.shown.set("lit")
    visitor.paint(48, True)
    assert mesh.visible
    assert len(browser.meshes) == 1


def test_the_mesh_appears_when_the_run_ends(tmp_path, browser):
    run = begin(tmp_path / "r")
    visitor = visit(run, browser, "mesh")
    assert "no asset.glb yet" in visitor.text.content
    finish(run)
    visitor.watch.again()
    visitor.heard()
    visitor.paint(48, True)
    assert len(browser.meshes) == 1
