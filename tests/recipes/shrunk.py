"""Recipes of hash grids and meshes cut down, for tests that run all their stages."""

from dataclasses import replace

from scorelift.recipes.base import Finish, Recipe
from scorelift.scenes import HashConfig, MeshConfig

FINISH = Finish(
    mesh_resolution=24,
    faces=400,
    texture=32,
    turntable_frames=2,
    turntable_size=32,
    preview_size=24,
    every_stage=True,
)


def shrunk(recipe: Recipe) -> Recipe:
    """The recipe with tiny scenes and pictures, two steps a stage, the embedded prior; its field begins as a ball."""
    changed = {}
    for name, stage in recipe.stages().items():
        scene = stage.scene
        if isinstance(scene, MeshConfig):
            scene = replace(scene, resolution=12, paint=_field(scene.paint))
        else:
            scene = _field(scene)
        changed[name] = replace(stage, scene=scene, steps=2, size=32, prior=None)
    return replace(recipe, prior="toybox", finish=FINISH, **changed)


def _field(config: HashConfig) -> HashConfig:
    return replace(config, levels=3, finest=16, width=8, coarse_samples=24, blob=10.0, density_bias=5.0)


def states(run) -> list[dict]:
    """The scenes a finished run's stages left."""
    return [run.load_checkpoint(path)["scene"] for path in run.checkpoints()]
