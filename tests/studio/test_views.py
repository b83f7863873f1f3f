import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from scorelift.cli import main
from scorelift.core.axes import TO_GLTF
from scorelift.engine.results import final_scene
from scorelift.export.shots import MODES, Shot
from scorelift.scenes.projection import quaternion_matrix
from scorelift.studio.views import View, camera_of, frame, window
from scorelift.studio.visitor import FROM_GLTF
from scorelift.studio.watching import Shelf, Watch, still


def seen_by(shot: Shot, aspect: float = 1.0) -> View:
    """The view of a browser whose camera stands where a shot's does: OpenCV axes, as viser tells them."""
    c2w = shot.camera().c2w[0].double().numpy()
    right, up, back = c2w[:3, 0], c2w[:3, 1], c2w[:3, 2]
    x, y, z, w = (float(part) for part in Rotation.from_matrix(np.stack([right, -up, -back], 1)).as_quat())
    position = tuple(float(part) for part in c2w[:3, 3])
    return View((w, x, y, z), position, math.radians(float(shot.camera().fovy_deg[0])), aspect)


@pytest.mark.parametrize("source", ["scene", "mesh"])
@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (60, 20), (200, -35), (310, 70)])
def test_the_same_view_as_the_command_renders(finished_box, tmp_path, source, azimuth, elevation):
    words = ["--azimuth-deg", str(azimuth), "--elevation-deg", str(elevation), "--resolution", "48"]
    out = tmp_path / "r.png"
    assert main(["render", str(finished_box.path), "--source", source, *words, "--out", str(out)]) == 0
    shot = Shot(azimuth_deg=azimuth, elevation_deg=elevation, resolution=48)
    shelf, news = Shelf(finished_box.path), Watch(finished_box.path).news
    subject = shelf.scene(news.pick("newest")) if source == "scene" else shelf.asset(news.asset)
    rendered, framed = np.asarray(Image.open(out), int), frame(subject, seen_by(shot), shot).astype(int)
    assert rendered.std() > 20
    assert np.abs(rendered - framed).max() <= 2


@pytest.mark.parametrize("mode", MODES)
def test_what_is_shown(finished_box, mode):
    shot = Shot(mode=mode, resolution=32)
    picture = frame(still(final_scene(finished_box)), seen_by(shot), shot)
    assert picture.shape == (32, 32, 3)
    assert (picture[..., 0] != picture[..., 2]).any() == (mode not in ("textureless", "depth"))


@pytest.mark.parametrize("aspect", [2.0, 0.5])
def test_a_window_that_is_not_square_shows_more_to_the_sides(finished_box, aspect):
    """The browser's field of view is the vertical one, and a pixel is as large in both directions."""
    scene, shot = still(final_scene(finished_box)), Shot(mode="albedo", resolution=64, fill=1.1)
    oblong = frame(scene, seen_by(shot, aspect), shot)
    height, width = oblong.shape[:2]
    assert width / height == aspect
    square = frame(scene, seen_by(shot), Shot(mode="albedo", resolution=height, fill=1.1))
    across = min(height, width)
    low, high = (max(height, width) - across) // 2, (max(height, width) + across) // 2
    middle, same = (oblong[:, low:high], square) if aspect > 1 else (oblong, square[:, low:high])
    assert np.abs(middle.astype(int) - same).max() <= 1


def test_a_camera_by_hand():
    """From +x at the origin: the browser's right is +y, its down -z, its forward -x."""
    camera = camera_of(View((0.5, -0.5, -0.5, 0.5), (3.0, 0.0, 0.0), 0.8))
    expected = torch.tensor([[0.0, 0, 1, 3], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    torch.testing.assert_close(camera.c2w[0], expected)
    assert float(camera.fovy_deg[0]) == pytest.approx(math.degrees(0.8))


def test_meshes_stand_in_the_world_as_they_were_exported():
    np.testing.assert_allclose(quaternion_matrix(torch.tensor([FROM_GLTF]))[0].numpy(), TO_GLTF.T, atol=1e-6)


@pytest.mark.parametrize("aspect", [0.2, 1.0, 1.234, 3.0])
def test_windows_are_even_and_of_their_shape(aspect):
    height, width = window(301, aspect)
    assert height % 2 == width % 2 == 0
    assert max(height, width) == 300
    assert abs(min(height, width) - 300 * min(aspect, 1 / aspect)) <= 1
