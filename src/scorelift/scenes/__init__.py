"""Differentiable scenes: parameters and how they are rendered."""

from __future__ import annotations

from typing import cast

from torch import nn

from .background import Environment
from .base import Render, Scene
from .canvas import Canvas, CanvasConfig, Flat
from .distances import signed_distances
from .fields import Field
from .follow import FieldConfig, SceneConfig, check_follows
from .gaussian_volume import volume_of
from .gaussians import GaussianConfig, Gaussians
from .generated import Generated, load_generator
from .given import Given
from .hashgrid import HashConfig, HashField
from .level import surface_density
from .mesh import Mesh, MeshConfig
from .mlp import MLPConfig, MLPField, Sky
from .model import Model, ModelConfig
from .painted import Painted
from .volume import Volume
from .voxels import VoxelConfig, VoxelField

__all__ = [
    "Body", "Canvas", "CanvasConfig", "Environment", "Field", "FieldConfig", "GaussianConfig", "Gaussians", "Generated",
    "HashConfig", "HashField", "MLPConfig", "MLPField", "Mesh", "MeshConfig", "Model", "ModelConfig", "Painted",
    "Render", "Scene", "SceneConfig", "Solid", "Volume", "VoxelConfig", "VoxelField", "build_scene", "solid",
    "unread_scene",
]  # fmt: skip

Solid = Volume | Painted
"Scenes that have a surface."
Body = Solid | Gaussians
"Scenes in three dimensions."
VOXELS = 112
"Along an edge of the volume that Gaussians become where a field or a mesh goes on from them."


def solid(scene: Body, resolution: int) -> Solid:
    """A scene with a surface: itself, or of Gaussians a volume of so many voxels along an edge."""
    return volume_of(scene, resolution) if isinstance(scene, Gaussians) else scene


def build_scene(
    config: SceneConfig, previous: Scene | None = None, name: str = "scene", source: str = "in the scene to start from"
) -> Scene:
    """The scene a stage starts from: a fresh one, or the previous one brought to this configuration.

    Args:
        name: of the scene's options, for complaints.
        source: where the previous scene's configuration stands, in words.

    Raises:
        ScoreliftError: if the previous scene cannot be brought to it.
    """
    if previous is not None:
        check_follows(config, config_of(previous), name, source)
    if isinstance(config, CanvasConfig):
        return load_generator(config.generator, config.pictures) if config.generator else Canvas(config)
    if isinstance(config, MeshConfig):
        return _mesh(config, previous)
    if isinstance(config, ModelConfig):
        return _model(config, previous, config.read())
    if isinstance(config, GaussianConfig):
        return _gaussians(config, previous)
    if isinstance(previous, Gaussians):
        previous = volume_of(previous, VOXELS).to(previous.device)
    assert isinstance(previous, Volume | None)
    if previous is not None and previous.latent and isinstance(config, VoxelConfig) and not config.latent:
        previous = previous.coloured()
    field, sky = _field(config, previous.field if previous else None), _sky(config, previous)
    return Volume(field, sky, config.environment_rate)


def config_of(scene: Scene) -> SceneConfig:
    """The configuration a scene was made with."""
    if isinstance(scene, Flat):
        return CanvasConfig()
    return cast(SceneConfig, (scene.field if isinstance(scene, Volume) else scene).config)


def _mesh(config: MeshConfig, previous: Scene | None) -> Mesh:
    """A ball, the surface of a volume, or another mesh, painted by its field."""
    assert isinstance(previous, Volume | Mesh | Gaussians | None)
    start = previous.coloured() if isinstance(previous, Volume) else previous
    if isinstance(start, Gaussians):
        start = volume_of(start, VOXELS).to(start.device)
    paint = start.field if isinstance(start, Volume) else start.paint if start else None
    mesh = Mesh(config, _field(config.paint, paint), _sky(config.paint, start), config.paint.environment_rate)
    if isinstance(start, Mesh):
        mesh.take(start)
    elif start is not None:
        mesh.to(start.device)
        distance = signed_distances(
            start.field.density_at, surface_density(start.field), mesh.lattice, mesh.tetrahedra, outside=mesh.rim
        )
        mesh.distance.data.copy_(distance)
    return mesh


def unread_scene(config: SceneConfig) -> Scene:
    """A scene into which a state is about to be loaded; what it would read from files comes with the state."""
    return _model(config, None, None) if isinstance(config, ModelConfig) else build_scene(config)


def _model(config: ModelConfig, previous: Scene | None, given: Given | None) -> Model:
    """A given mesh, painted by a fresh field, or by that of another stage of the same mesh."""
    assert isinstance(previous, Model | None)
    return Model(config, _field(config.paint, previous.paint if previous else None), given)


def _gaussians(config: GaussianConfig, previous: Scene | None) -> Gaussians:
    gaussians = Gaussians(config)
    if previous is not None:
        assert isinstance(previous, Gaussians)
        gaussians.to(previous.device).take(previous)
    return gaussians


def _field(config: FieldConfig, previous: Field | None) -> Field:
    if isinstance(config, VoxelConfig):
        voxels = VoxelField(config)
        if previous is not None:
            assert isinstance(previous, VoxelField)
            voxels.take(previous)
        return voxels
    field = HashField(config) if isinstance(config, HashConfig) else MLPField(config)
    if previous is not None:
        field.load_state_dict(previous.state_dict())
    return field


def _sky(config: FieldConfig, previous: Scene | None) -> nn.Module | None:
    if not config.environment:
        return None
    before = getattr(previous, "environment", None)
    sky: Environment | Sky
    sky = Environment(latent=config.latent) if isinstance(config, VoxelConfig) else Sky(config.environment_width)
    if isinstance(before, type(sky)) and getattr(before, "latent", 0) == getattr(sky, "latent", 0):
        sky.load_state_dict(before.state_dict())
    return sky
