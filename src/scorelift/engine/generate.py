"""From a prompt to a run's folder: what was asked is checked, then the work is done."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from ..core.config import from_json, to_json
from ..core.errors import bad, check_choice, check_prompt
from ..core.locks import alone
from ..core.memory import memory_errors
from ..core.team import Team
from ..priors.registry import check_model, load_prior
from ..recipes import OWN, Recipe, find_recipe, known_parts
from ..recipes.base import Finish
from ..scenes import config_of
from ..scenes.follow import check_follows
from .checks import check_stages
from .guide import mesh_hashes
from .job import Job
from .plan import exhausted
from .progress import Progress
from .remarks import foretold, remarks
from .results import start_scene
from .run import Run, run_folder


def pick_device(name: str) -> str:
    """ "auto" is CUDA where there is one, else the CPU; "mps", Apple's, is taken when it is asked for.

    Raises:
        ScoreliftError: if the device is unknown or absent.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    check_choice("device", name, ("auto", "cpu", "cuda", "mps"))
    if name == "mps" and not torch.backends.mps.is_available():
        raise bad("device", expected="an Apple GPU that torch can see", got="none", remedy="Use --device cpu.")
    if name == "cuda" and not torch.cuda.is_available():
        raise bad("device", expected="a CUDA device that torch can see", got="none", remedy="Use --device cpu.")
    return name


def check_asked(recipe: Any, preset: Any, prior: Any, steps: Any, seed: Any) -> None:
    """Raise for what is not of its kind."""
    for name, number in (("steps", steps), ("seed", seed)):
        if number is not None and not isinstance(number, int):
            raise bad(name, expected="a whole number", got=number)
    if not isinstance(recipe, str | Recipe):
        raise bad("recipe", expected="a name or a Recipe", got=recipe, remedy="A class is called first: Quick().")
    if preset is not None and isinstance(recipe, Recipe):
        raise bad("preset", expected="None, for the recipe is given whole", got=preset)
    if not isinstance(prior, str | Path | None):
        raise bad("prior", expected="a name, a folder or a weights file", got=type(prior).__name__)


def generate(
    prompt: str,
    *,
    out: str | Path | None = None,
    recipe: str | Recipe = "quick",
    preset: str | None = None,
    prior: str | Path | None = None,
    steps: int | None = None,
    seed: int | None = None,
    start: str | Path | None = None,
    device: str = "auto",
    resume: bool = False,
    quiet: bool = False,
) -> Run:
    """Turn a prompt into an asset.

    Args:
        prompt: what to make.
        out: the run's folder; default `runs/<slug>-<seed>`.
        recipe: a recipe, or a recipe's name; `preset` applies to a name.
        prior: a prior's name, folder, hub id or weights file; default the recipe's.
        steps: steps of each stage; default the recipe's.
        seed: of everything random; default the recipe's.
        start: another run, whose final scene this one begins with (DreamFusion's Figure 4).
        resume: continue the run in `out`; the recipe and prompt are then the ones it was begun with. `until` holds, and
            the `finish` of a recipe that is given whole; with another one a finished run's outputs are made again.

    Returns:
        The finished run.

    Raises:
        ScoreliftError: for bad input, an empty scene, values that are not finite, too little memory, a folder in which
            another process works. Nothing of another run is touched.
    """
    check_prompt(prompt)
    check_asked(recipe, preset, prior, steps, seed)
    where = pick_device(device)
    team = Team.join(where)
    plan = find_recipe(recipe, preset) if isinstance(recipe, str) else recipe
    if steps is not None:
        plan = plan.with_steps(steps)
    changes: dict[str, Any] = {k: v for k, v in (("prior", prior and str(prior)), ("seed", seed)) if v is not None}
    plan = dataclasses.replace(plan, **changes)
    check_model(plan.model, plan.prior, *(stage.prior for stage in plan.stages().values()))
    path = run_folder(prompt, plan.seed, out)
    if resume and start is not None:
        _check_start(path, prompt, start)
    finish = plan.finish if isinstance(recipe, Recipe) else None
    if resume and _is_done(path, prompt, plan.until, finish):
        return Run.open(path)
    with alone(path) if team.leads else nullcontext():
        team.wait()  # for the one who leads to have the folder
        return _make(path, prompt, plan, start=start, where=where, team=team, resume=resume, finish=finish, quiet=quiet)


def _make(
    path: Path,
    prompt: str,
    plan: Recipe,
    *,
    start: str | Path | None,
    where: str,
    team: Team,
    resume: bool,
    finish: Finish | None,
    quiet: bool,
) -> Run:
    """The run of a folder, begun or continued, to its end; `finish`: the outputs of one continued, if not its own."""
    run = _resumed(path, prompt, plan.until, finish) if resume and (path / "config.json").exists() else None
    if run is not None and run.finished:
        return run
    asked = run.recipe if run else plan
    say = Progress(1).say if team.leads and not quiet else _nothing
    if where == "cuda" and (text := foretold(asked, prompt)) is not None:
        say(text)
    try:
        with memory_errors():
            model = load_prior(asked.prior, where, asked.model)
    except torch.OutOfMemoryError as error:
        raise exhausted("the prior", asked, *next(iter(asked.stages().items())), error) from error
    plan = plan.fitted(model.channels if model.bound is None else 0, model.sizes[0])
    model.check_prompt(prompt)
    check_stages(run.recipe if run else plan, model, prompt)  # told now what the stages would tell
    if start is not None and run is None:
        name, first = next(iter(plan.stages().items()))
        check_follows(first.scene, config_of(start_scene(Run.open(Path(start)), plan)), f"{name}.scene")
    for text in remarks(asked, run.recipe if run else plan, model):
        say(text)
    meshes, fresh = mesh_hashes(asked), run is None
    if team.leads:
        if run is None:
            from_json(to_json(plan), known_parts(), OWN)  # told now if it cannot be read again
            run = Run.create(path, prompt, plan, start=start)
        run.keep_meshes(meshes)
    team.wait()
    job = Job(run or Run.open(path), model, where, team, quiet=quiet or not team.leads)
    del model  # the job lets go of it when a stage has another
    try:
        return job.go()
    except BaseException:
        if fresh and team.leads:
            job.run.forget()
        raise


def _begun(path: Path, prompt: str) -> Run:
    """The run of a folder, whose prompt must be this one."""
    run = Run.open(path)
    if run.prompt != prompt:
        raise bad("prompt", expected=f"the prompt of the run in {path}, {run.prompt!r}", got=prompt)
    return run


def _check_start(path: Path, prompt: str, start: str | Path) -> None:
    """Raise if a run to be continued was not begun from this one."""
    if (path / "config.json").exists():
        begun = _begun(path, prompt).config.get("start")
        if begun != str(Path(start).resolve()):
            raise bad("from", expected=f"{begun or 'none'}, with which the run in {path} was begun", got=str(start),
                      remedy="With --resume leave it out.")  # fmt: skip


def _is_done(path: Path, prompt: str, until: str | None, finish: Finish | None) -> bool:
    """Whether a run is finished, as far as it is asked for."""
    if not (path / "config.json").exists():
        return False
    run = _begun(path, prompt)
    return run.finished and run.recipe.until == until and finish in (None, run.recipe.finish)


def _resumed(path: Path, prompt: str, until: str | None, finish: Finish | None) -> Run:
    run = _begun(path, prompt)
    finish = finish or run.recipe.finish
    return run if (run.recipe.until, run.recipe.finish) == (until, finish) else run.changed(until, finish)


def _nothing(_: str) -> None:
    """Say nothing."""
