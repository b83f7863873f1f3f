"""Differentiable scenes: parameters and how they are rendered."""

from __future__ import annotations

from torch import nn

from ..core.errors import bad
from .background import Environment
from .base import Render, Scene
from .canvas import Canvas, CanvasConfig
from .distances import signed_distances
from .fields import Field
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

FieldConfig = VoxelConfig | MLPConfig | HashConfig
SceneConfig = FieldConfig | MeshConfig | ModelConfig | GaussianConfig | CanvasConfig
Solid = Volume | Painted
"Scenes that have a surface."
Body = Solid | Gaussians
"Scenes in three dimensions."
VOXELS = 112
"Along an edge of the volume that Gaussians become where a field or a mesh goes on from them."


def solid(scene: Body, resolution: int) -> Solid:
    """A scene with a surface: itself, or of Gaussians a volume of so many voxels along an edge."""
    return volume_of(scene, resolution) if isinstance(scene, Gaussians) else scene


def build_scene(config: SceneConfig, previous: Scene | None = None) -> Scene:
    """The scene a stage starts from: a fresh one, or the previous one brought to this configuration.

    Raises:
        ScoreliftError: if the previous scene cannot be brought to it.
    """
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
    start = previous if isinstance(previous, Volume) else None
    if start is None and previous is not None:
        raise bad("scene", expected="a volume to start from", got=type(previous).__name__)
    if start is not None:
        if start.latent and isinstance(config, VoxelConfig) and not config.latent:
            start = start.coloured()
        _check_density(config, start.field)
    field, sky = _field(config, start.field if start else None), _sky(config, start)
    return Volume(field, sky, config.environment_rate)


def _mesh(config: MeshConfig, previous: Scene | None) -> Mesh:
    """A ball, the surface of a volume, or another mesh, painted by its field."""
    if previous is not None and not isinstance(previous, Volume | Mesh | Gaussians):
        raise bad("scene", expected="a volume or a mesh to start from", got=type(previous).__name__)
    start = previous.coloured() if isinstance(previous, Volume) else previous
    assert not isinstance(start, Model)
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
    if previous is not None and not isinstance(previous, Model):
        raise bad("scene", expected="a painted mesh to start from", got=type(previous).__name__)
    return Model(config, _field(config.paint, previous.paint if previous else None), given)


def _gaussians(config: GaussianConfig, previous: Scene | None) -> Gaussians:
    gaussians = Gaussians(config)
    if previous is not None:
        if not isinstance(previous, Gaussians):
            raise bad("scene", expected="Gaussians to start from", got=type(previous).__name__)
        gaussians.to(previous.device).take(previous)
    return gaussians


def _check_density(config: FieldConfig, previous: Field) -> None:
    """Raise where a network's numbers would mean other densities than they did."""
    before = getattr(previous, "config", None)
    if isinstance(config, VoxelConfig) or type(before) is not type(config):
        return
    for name in ("extent", "density_bias", "blob", "blob_radius", "blob_width"):
        if getattr(config, name, None) != getattr(before, name, None):
            raise bad(f"scene.{name}", expected=f"{getattr(before, name)}, as in the scene to start from",
                      got=getattr(config, name))  # fmt: skip


def _field(config: FieldConfig, previous: Field | None) -> Field:
    if isinstance(config, VoxelConfig):
        voxels = VoxelField(config)
        if previous is not None:
            if not isinstance(previous, VoxelField):
                raise bad("scene", expected="a field of voxels to start from", got=type(previous).__name__)
            voxels.take(previous)
        return voxels
    field = HashField(config) if isinstance(config, HashConfig) else MLPField(config)
    if previous is not None:
        try:
            field.load_state_dict(previous.state_dict())
        except RuntimeError as error:
            shape = f"a network of {config.blocks} blocks of {config.width}" if isinstance(config, MLPConfig) else (
                f"a hash grid of {config.levels} levels of up to 2^{config.log2_rows} rows of {config.features}"
            )  # fmt: skip
            raise bad("scene", expected=f"{shape} to start from", got=type(previous).__name__) from error
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
