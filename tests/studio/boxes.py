"""A run whose scene is made by hand: a lopsided, many-coloured body; and a stand-in for viser's handle of a window."""

from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch

from scorelift.core.files import write_bytes, write_json
from scorelift.engine.outputs import make_asset
from scorelift.engine.run import Run
from scorelift.export.gltf import to_glb
from scorelift.recipes import find_recipe
from scorelift.recipes.base import Finish
from scorelift.scenes import Volume, VoxelConfig, build_scene

STEPS = 40


def body(config: VoxelConfig, size: float = 1.0) -> Volume:
    """A box, longer to its left than high, nearer to +x than to -x; each side of another colour."""
    scene = build_scene(config)
    axis = torch.linspace(-1, 1, config.resolution)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    inside = torch.stack([0.35 - (x - 0.2).abs(), 0.6 * size - (y - 0.1).abs(), 0.25 - (z + 0.1).abs()]).amin(0)
    with torch.no_grad():
        scene.field.density.copy_((40 * inside)[..., None])
        for channel, side in enumerate((x - 0.2, y - 0.1, z + 0.1)):
            scene.field.albedo[..., channel] = torch.where(side > 0, 5.0, -5.0)
    return scene


def begin(path) -> Run:
    """A run that has no checkpoint yet."""
    recipe = find_recipe("sjc").with_steps(STEPS)
    finish = Finish(mesh_resolution=40, faces=600, texture=64)
    recipe = replace(recipe, field=replace(recipe.field, scene=VoxelConfig(resolution=32)), finish=finish)
    return Run.create(path, "a *red* box", recipe)


def save(run: Run, step: int, size: float = 1.0) -> Volume:
    """Let a run leave a checkpoint."""
    scene = body(run.recipe.field.scene, size)
    scene.update(0, 1.0)
    run.save_checkpoint(0, "field", step, {"scene": scene.state_dict(), "step": step}, last=step == STEPS)
    return scene


def finish(run: Run) -> None:
    """Let a run come to its end."""
    scene = save(run, STEPS)
    write_bytes(run.path / "asset.glb", to_glb(make_asset(scene, run.recipe.finish), "box"))
    write_json(run.path / "metrics.json", {"seconds": 1.0, "seed": 0})


class Control(SimpleNamespace):
    """What the browser shows of a value."""

    def __init__(self, value=None, **more):
        super().__init__(value=value, hears=[], content=value, visible=True, intensity=0.0, **more)

    def on_update(self, hear):
        self.hears.append(hear)

    def set(self, value):
        """As a visitor does."""
        self.value = value
        for hear in self.hears:
            hear(None)

    def remove(self):
        self.visible = False


class Gui:
    def add_markdown(self, content):
        return Control(content)

    def add_dropdown(self, label, options, initial_value=None):
        return Control(options[0] if initial_value is None else initial_value, options=options)

    def add_checkbox(self, label, initial_value):
        return Control(initial_value)

    def add_slider(self, label, *, min, max, step, initial_value):
        assert min <= initial_value <= max
        return Control(initial_value)

    @contextmanager
    def add_folder(self, label):
        yield


class Window:
    """In place of viser's ClientHandle."""

    client_id = 0

    def __init__(self):
        self.pictures, self.gui, self.scene = [], Gui(), self
        self.camera = Control(wxyz=(0.5, 0.5, -0.5, -0.5), position=(3.0, 0.0, 0.0), fov=0.8, aspect=1.5)
        self.camera.wxyz = np.array([0.5, -0.5, -0.5, 0.5])  # from +x, upright
        self.meshes = []

    def configure_default_lights(self, on):
        assert not on

    configure_environment_map = configure_default_lights

    def add_light_ambient(self, name, intensity):
        return Control()

    def add_light_point(self, name, intensity, decay):
        return Control()

    def set_background_image(self, picture, *, format, jpeg_quality=None):
        self.pictures.append(picture)

    def add_glb(self, name, data, *, wxyz, cast_shadow, receive_shadow):
        self.meshes.append((data, wxyz, Control()))
        return self.meshes[-1][2]
