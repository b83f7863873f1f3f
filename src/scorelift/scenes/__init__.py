"""Differentiable scenes: parameters and how they are rendered."""

from __future__ import annotations

from ..core.errors import bad
from .background import Environment
from .base import Render, Scene
from .canvas import Canvas, CanvasConfig
from .fields import Field
from .generated import Generated
from .mlp import MLPConfig, MLPField, Sky
from .volume import Volume
from .voxels import VoxelConfig, VoxelField

__all__ = [
    "Canvas", "CanvasConfig", "Environment", "Field", "Generated", "MLPConfig", "MLPField", "Render", "Scene", "Volume",
    "VoxelConfig", "VoxelField", "build_scene",
]  # fmt: skip


def build_scene(config: VoxelConfig | MLPConfig | CanvasConfig, previous: Scene | None = None) -> Scene:
    """The scene a stage starts from: a fresh one, or the previous one brought to this configuration.

    Raises:
        ScoreliftError: if the previous scene cannot be brought to it.
    """
    if isinstance(config, CanvasConfig):
        return Canvas(config)
    if isinstance(config, MLPConfig):
        return _network_scene(config, previous)
    field = VoxelField(config)
    if isinstance(previous, Volume) and isinstance(previous.field, VoxelField):
        field.take(previous.field)
    sky = Environment(latent=config.latent) if config.environment else None
    return Volume(field, sky, config.environment_rate)


def _network_scene(config: MLPConfig, previous: Scene | None) -> Volume:
    sky = Sky(config.environment_width) if config.environment else None
    scene = Volume(MLPField(config), sky, environment_rate=1.0)
    if previous is None:
        return scene
    try:
        scene.load_state_dict(previous.state_dict())
    except RuntimeError as error:
        shape = f"a network of {config.blocks} blocks of {config.width}"
        raise bad("scene", expected=f"{shape} to start from", got=type(previous).__name__) from error
    return scene
