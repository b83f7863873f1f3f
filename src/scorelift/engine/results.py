"""The scenes of a run: as its stages ended with them, as a checkpoint has them."""

from __future__ import annotations

from pathlib import Path

from ..core.errors import DamagedError, bad
from ..recipes import Recipe
from ..scenes import CanvasConfig, GaussianConfig, Gaussians, Mesh, MeshConfig, Scene, unread_scene
from .run import Run, checkpoint_name, checkpoint_parts


def final_scene(run: Run, *, coloured: bool = True) -> Scene:
    """The scene a run ended with; one of latents in colours, unless `coloured` is False.

    Raises:
        ScoreliftError: if its last stage is not finished.
    """
    scene = _scene_after(run, len(run.recipe.stages()) - 1)
    return scene.coloured() if coloured else scene


def start_scene(run: Run, recipe: Recipe) -> Scene:
    """The scene of a run that another recipe begins with: its last, or its last field where no mesh will do.

    Raises:
        ScoreliftError: if the run is not finished.
    """
    first = next(iter(recipe.stages().values()))
    if isinstance(first.scene, CanvasConfig):
        raise bad("from", expected=f"no run, for {recipe.name} makes flat pictures anew", got=str(run.path))
    scene, index = final_scene(run, coloured=False), len(run.recipe.stages()) - 1
    while isinstance(scene, Mesh) and not isinstance(first.scene, MeshConfig) and index > 0:
        index -= 1
        scene = _scene_after(run, index)
    return scene


def last_gaussians(run: Run) -> Gaussians:
    """The last Gaussians of a run.

    Raises:
        ScoreliftError: if it has none, or is not finished.
    """
    for index in reversed(range(len(run.recipe.stages()))):
        if isinstance(list(run.recipe.stages().values())[index].scene, GaussianConfig):
            scene = _scene_after(run, index)
            assert isinstance(scene, Gaussians)
            return scene
    raise bad("run", expected="a run with a stage of Gaussians", got=f"{run.path} ({run.recipe.name})",
              remedy="Make one with --recipe dreamgaussian.")  # fmt: skip


def _scene_after(run: Run, index: int) -> Scene:
    """The scene that a run's stage ended with; no other checkpoint can stand in for it."""
    name, stage = list(run.recipe.stages().items())[index]
    path = run.path / "checkpoints" / checkpoint_name(index, name, stage.steps)
    if not path.exists() and not run.finished:
        raise bad("run", expected="a finished run", got=str(run.path), remedy="Continue it with --resume.")
    if not path.exists():
        raise bad("run", expected=f"a run that has kept {path.name}", got=str(run.path), remedy=_remedy(run, path))
    try:
        return scene_at(run, path)
    except DamagedError as error:
        raise DamagedError(error.what, _remedy(run, path)) from error


def _remedy(run: Run, path: Path) -> str:
    """How a checkpoint that is gone or damaged is made again."""
    if any(other.name > path.name for other in run.checkpoints()):
        return "Later stages are done, so make the run anew, in another --out."
    files = [file.name for file in (path, run.path / "metrics.json") if file.exists()]
    return f"Remove {' and '.join(files)} and continue the run with --resume, which makes it again."


def scene_at(run: Run, path: Path) -> Scene:
    """The scene as it was at a checkpoint.

    Raises:
        ScoreliftError: if the checkpoint is not there, damaged, or of another recipe.
    """
    index, name, step = checkpoint_parts(path)
    stages = list(run.recipe.stages().items())
    if index >= len(stages) or stages[index][0] != name:
        raise bad("checkpoint", expected=f"a stage of recipe {run.recipe.name}", got=path.name)
    stage = stages[index][1]
    scene = unread_scene(stage.scene)
    scene.load_state_dict(run.load_checkpoint(path)["scene"])
    scene.update(0, step / stage.steps)
    return scene
