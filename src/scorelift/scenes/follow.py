"""Whether a scene can begin with another, told from their configurations alone."""

from __future__ import annotations

from ..core.config import option_of
from ..core.errors import bad
from .canvas import CanvasConfig
from .gaussians import GaussianConfig
from .hashgrid import HashConfig
from .mesh import MeshConfig
from .mlp import MLPConfig
from .model import ModelConfig
from .voxels import VoxelConfig

FieldConfig = VoxelConfig | MLPConfig | HashConfig
SceneConfig = FieldConfig | MeshConfig | ModelConfig | GaussianConfig | CanvasConfig

KINDS = {
    VoxelConfig: "voxels", MLPConfig: "a network", HashConfig: "a hash grid", MeshConfig: "a mesh",
    ModelConfig: "a painted mesh", GaussianConfig: "Gaussians", CanvasConfig: "flat pictures",
}  # fmt: skip
VOLUMES = (VoxelConfig, MLPConfig, HashConfig, GaussianConfig)
"Gaussians become voxels where something else goes on from them."
WEIGHTS = (
    "levels", "features", "log2_rows", "coarsest", "finest", "frequencies", "blocks", "width", "occupancy", "extent",
)  # fmt: skip
"What says of a network's numbers how many there are, and of which places."
DENSITIES = ("density_bias", "blob", "blob_radius", "blob_width")
"With others a network's numbers would mean other densities."


def check_follows(
    config: SceneConfig, before: SceneConfig, name: str = "scene", source: str = "in the scene to start from"
) -> None:
    """Raise if a scene cannot begin where one of another configuration ended.

    Args:
        name: of the scene's options.
        source: where the one before has its values, in words.
    """
    _check_kind(config, before, name)
    if isinstance(config, CanvasConfig | GaussianConfig):
        return
    if isinstance(config, MeshConfig) and isinstance(before, MeshConfig):
        _check_same(("resolution",), config, before, name, source)
    own, taken = field_of(config), field_of(before)
    name = name if own is config else f"{name}.paint"
    if type(own) is not type(taken):
        raise bad(name, expected=f"{KINDS[type(taken)]}, as {source}", got=KINDS[type(own)])
    if isinstance(own, VoxelConfig):
        if own.latent:
            _check_same(("latent",), own, taken, name, source)
        return
    assert not isinstance(taken, VoxelConfig)
    _check_same(WEIGHTS if own is not config else WEIGHTS + DENSITIES, own, taken, name, source)
    if own.environment and taken.environment:
        _check_same(("environment_width",), own, taken, name, source)


def field_of(config: SceneConfig) -> FieldConfig:
    """The field of a scene, or that in which another goes on from it."""
    if isinstance(config, MeshConfig | ModelConfig):
        return config.paint
    assert not isinstance(config, CanvasConfig)
    return VoxelConfig() if isinstance(config, GaussianConfig) else config


def _check_kind(config: SceneConfig, before: SceneConfig, name: str) -> None:
    known: dict[type, tuple[type, ...]] = {
        CanvasConfig: tuple(KINDS), ModelConfig: (ModelConfig,), GaussianConfig: (GaussianConfig,),
        MeshConfig: (*VOLUMES, MeshConfig),
    }  # fmt: skip
    if not isinstance(before, known.get(type(config), VOLUMES)):
        wanted = {MeshConfig: "a volume or a mesh", ModelConfig: "a painted mesh", GaussianConfig: "Gaussians"}
        raise bad(name, expected=f"{wanted.get(type(config), 'a volume')} to start from", got=KINDS[type(before)])


def _check_same(names: tuple[str, ...], own: object, taken: object, name: str, source: str) -> None:
    for field in names:
        wanted, got = getattr(taken, field, None), getattr(own, field, None)
        if wanted != got:
            raise bad(f"{name}.{field}", expected=f"{wanted}, as {source}", got=got,
                      remedy=f"Set --{option_of(f'{name}.{field}')} {wanted}.")  # fmt: skip
