"""One visitor: the controls in the browser, and what is sent to it. Of viser only its handles are used here."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..core.errors import DamagedError, ScoreliftError
from ..export.shots import Mode, Shot
from .painter import Painter
from .views import SLENDEREST, View, camera_of, frame
from .watching import NEWEST, Mark, Shelf, Watch

Source = Literal["scene", "mesh"]
SHOWN: dict[str, Mode] = {
    "colours": "albedo", "lit": "shaded", "lit, without colour": "textureless", "normals": "normal", "depth": "depth",
}  # fmt: skip
REAL = ("albedo", "shaded")
"What the browser draws of a mesh itself."
FROM_GLTF = (0.5, 0.5, 0.5, 0.5)
"The rotation from glTF's axes (+y up, front +z) to the world's (+z up, front +x): w, x, y, z."
RESOLUTIONS = (64, 1024, 32)
"Least, most, step."
_INITIAL = 512


class Visitor:
    """The controls of one browser window, and the thread that paints for it.

    Args:
        client: viser's handle of the window.
    """

    def __init__(self, client: Any, watch: Watch, shelf: Shelf, source: Source) -> None:
        self.client, self.watch, self.shelf = client, watch, shelf
        self.painter = Painter(self.paint, lambda: int(self.resolution.value))
        self._real: tuple[float, Any] | None = None
        self._plain = False
        usual, gui = Shot(), client.gui
        self.text = gui.add_markdown("")
        self.source = gui.add_dropdown("Source", ("scene", "mesh"), initial_value=source)
        self.shown = gui.add_dropdown("Show", tuple(SHOWN), initial_value="lit")
        self.checkpoint = gui.add_dropdown("Checkpoint", tuple(watch.news.labels))
        with gui.add_folder("Light"):
            self.follows = gui.add_checkbox("from the camera", True)
            self.azimuth = gui.add_slider("azimuth °", min=-180, max=180, step=5, initial_value=0)
            self.elevation = gui.add_slider("elevation °", min=-90, max=90, step=5, initial_value=50)
            self.ambient = gui.add_slider("ambient", min=0.0, max=1.0, step=0.05, initial_value=usual.ambient)
        least, most, step = RESOLUTIONS
        self.resolution = gui.add_slider("Pixels", min=least, max=most, step=step, initial_value=_INITIAL)
        scene = client.scene
        scene.configure_default_lights(False)
        scene.configure_environment_map(None)
        self._lights = (
            scene.add_light_ambient("/light/ambient", intensity=0.0),
            scene.add_light_point("/light/lamp", intensity=0.0, decay=0.0),
        )
        for control in (self.source, self.shown, self.checkpoint, self.follows, self.azimuth, self.elevation,
                        self.ambient, self.resolution):  # fmt: skip
            control.on_update(lambda _: self.painter.changed())
        client.camera.on_update(lambda _: self.painter.changed())

    def start(self) -> None:
        """Begin to paint."""
        self.painter.start()

    def close(self) -> None:
        """The window is closed."""
        self.painter.close()

    def heard(self) -> None:
        """There is news of the run."""
        labels = tuple(self.watch.news.labels)
        if tuple(self.checkpoint.options) != labels:
            self.checkpoint.options = labels
        self.painter.changed()

    def view(self) -> View:
        """Where the visitor stands now."""
        camera = self.client.camera
        wxyz, position = (tuple(float(part) for part in value) for value in (camera.wxyz, camera.position))
        aspect = float(camera.aspect)
        aspect = min(max(aspect, 1 / SLENDEREST), SLENDEREST) if math.isfinite(aspect) else 1.0
        return View(wxyz, position, float(camera.fov), aspect)  # type: ignore[arg-type]

    def shot(self, side: int) -> Shot:
        """What is shown, in what light."""
        follows = self.follows.value
        return Shot(
            mode=SHOWN[self.shown.value],
            light_azimuth_deg=None if follows else float(self.azimuth.value),
            light_elevation_deg=None if follows else float(self.elevation.value),
            ambient=float(self.ambient.value),
            resolution=side,
        )

    def paint(self, side: int, last: bool) -> None:
        """Send what is to be seen, `side` pixels along the window's longer side; what cannot be shown is told."""
        try:
            self._mesh(side, last) if self.source.value == "mesh" else self._scene(side, last)
        except Exception as error:  # whatever a file or the memory brings: the next picture may be had again
            self._blank()
            self._say(str(error) if isinstance(error, ScoreliftError) else f"{type(error).__name__}: {error}")

    def _scene(self, side: int, last: bool) -> None:
        self._hide()
        mark, trouble = self.watch.news.pick(self.checkpoint.value), ""
        if mark is None:
            self._blank()
        else:
            with self.shelf.lock:  # one picture at a time: the cores are few
                mark, scene, trouble = self._read(mark)
                picture = frame(scene, self.view(), self.shot(side))
            self._send(picture, last)
        self._say(trouble + self.watch.news.told(mark))

    def _read(self, mark: Mark) -> tuple[Mark, Any, str]:
        """A checkpoint, its scene, and what is wrong.

        If the run has just replaced it, the one that is chosen then; if it is the newest and damaged, the one before.
        """
        try:
            return mark, self.shelf.scene(mark), ""
        except DamagedError as error:
            before = self.watch.news.before(mark) if self.checkpoint.value == NEWEST else None
            if before is None:
                raise
            return before, self.shelf.scene(before), f"{error.what} Shown is the one before it. "
        except ScoreliftError:
            if mark.path.exists():
                raise
            self.watch.again()
            other = self.watch.news.pick(self.checkpoint.value)
            if other is None or other == mark:
                raise
            return other, self.shelf.scene(other), ""

    def _mesh(self, side: int, last: bool) -> None:
        written = self.watch.news.asset
        if written is None:
            self._hide()
            self._blank()
            self._say("There is no asset.glb yet: a run writes it at its end. The source “scene” shows what there is.")
            return
        view, shot = self.view(), self.shot(side)
        if shot.mode in REAL:
            self._show(written)
            self._light(view, shot)
            self._blank()
        else:
            self._hide()
            with self.shelf.lock:
                picture = frame(self.shelf.asset(written), view, shot)
            self._send(picture, last)
        self._say("The exported mesh, asset.glb.")

    def _send(self, picture: np.ndarray, last: bool) -> None:
        self.client.scene.set_background_image(picture, format="jpeg", jpeg_quality=92 if last else 70)
        self._plain = False

    def _blank(self) -> None:
        """Nothing but the backdrop."""
        if not self._plain:
            grey = np.full((2, 2, 3), round(255 * Shot().backdrop), np.uint8)
            self.client.scene.set_background_image(grey, format="png")
        self._plain = True

    def _show(self, written: float) -> None:
        """The mesh, drawn by the browser."""
        if self._real is None or self._real[0] != written:
            self._remove()
            with suppress(OSError):
                data = (self.shelf.path / "asset.glb").read_bytes()
                glb = self.client.scene.add_glb(
                    "/asset", data, wxyz=FROM_GLTF, cast_shadow=False, receive_shadow=False
                )  # fmt: skip
                self._real = written, glb
        elif not self._real[1].visible:
            self._real[1].visible = True

    def _hide(self) -> None:
        if self._real is not None and self._real[1].visible:
            self._real[1].visible = False

    def _remove(self) -> None:
        if self._real is not None:
            self._real[1].remove()
        self._real = None

    def _light(self, view: View, shot: Shot) -> None:
        """The browser's lights as ours are; its surfaces give back a pi-th of what falls on them."""
        around, lamp = self._lights
        share = 1.0 if shot.mode == "albedo" else shot.ambient
        around.intensity, lamp.intensity = math.pi * share, math.pi * (1 - share)
        lights = replace(shot, azimuth_deg=0.0).lights(camera_of(view))
        lamp.position = tuple(lights.position[0].tolist())

    def _say(self, line: str) -> None:
        """Prompt, recipe, and a line."""
        text = f"**{_plain(self.watch.prompt)}**  \nrecipe {self.watch.recipe}  \n{_plain(line)}"
        if self.text.content != text:
            self.text.content = text


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is.

    >>> _plain("a *red* <b>")
    'a \\\\*red\\\\* \\\\<b\\\\>'
    """
    return "".join("\\" + letter if letter in "\\`*_{}[]<>#|~$" else letter for letter in text)
