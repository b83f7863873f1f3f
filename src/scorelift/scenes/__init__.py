"""Differentiable scenes: parameters and how they are rendered."""

from __future__ import annotations

from .base import Render, Samples, Scene
from .canvas import Canvas, CanvasConfig
from .volume import VoxelConfig, VoxelVolume

__all__ = [
    "Canvas",
    "CanvasConfig",
    "Render",
    "Samples",
    "Scene",
    "Shading",
    "VoxelConfig",
    "VoxelVolume",
    "build_scene",
]


def build_scene(config: VoxelConfig | CanvasConfig, previous: Scene | None = None) -> Scene:
    """The scene a stage starts from: a fresh one, or the previous stage's brought to this configuration."""
    if isinstance(config, CanvasConfig):
        return Canvas(config)
    scene = VoxelVolume(config)
    if isinstance(previous, VoxelVolume):
        scene.take(previous)
    return scene
