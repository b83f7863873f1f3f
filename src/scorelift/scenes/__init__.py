"""Differentiable scenes: parameters and how they are rendered."""

from __future__ import annotations

from .background import Environment
from .base import Render, Samples, Scene
from .canvas import Canvas, CanvasConfig
from .fields import Field
from .volume import Volume
from .voxels import VoxelConfig, VoxelField

__all__ = ["Canvas", "CanvasConfig", "Field", "Render", "Samples", "Scene", "Volume", "VoxelConfig", "VoxelField",
           "build_scene"]  # fmt: skip


def build_scene(config: VoxelConfig | CanvasConfig, previous: Scene | None = None) -> Scene:
    """The scene a stage starts from: a fresh one, or the previous stage's brought to this configuration."""
    if isinstance(config, CanvasConfig):
        return Canvas(config)
    field = VoxelField(config)
    if isinstance(previous, Volume) and isinstance(previous.field, VoxelField):
        field.take(previous.field)
    return Volume(field, Environment() if config.environment else None)
