"""From a prompt to a run's folder: every stage in turn, checkpoints on the way, outputs at the end."""

from __future__ import annotations

import dataclasses
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..core.errors import ScoreliftError, bad
from ..core.files import write_bytes, write_json
from ..core.pictures import write_png
from ..export.gltf import to_glb
from ..export.pictures import preview, strip
from ..priors.base import Prior
from ..priors.registry import check_there, load_prior
from ..recipes import Recipe, find_recipe
from ..scenes import Body, Scene, Volume, build_scene
from ..version import __version__
from .interrupt import Interrupt
from .loop import Loop
from .outputs import make_asset, write_decoded, write_pictures, write_report
from .plan import exhausted, shortage
from .plan import plan as planned
from .progress import Progress
from .run import Run, slug, start_scene
from .team import Team

CHECKPOINT_S = 15.0
PREVIEW_S = 8.0


def pick_device(name: str) -> str:
    """ "auto" is CUDA where there is one, else the CPU.

    Raises:
        ScoreliftError: if the device is unknown or absent.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise bad("device", expected="auto, cpu or cuda", got=name)
    if name == "cuda" and not torch.cuda.is_available():
        raise bad("device", expected="a CUDA device that torch can see", got="none", remedy="Use --device cpu.")
    return name


def generate(
    prompt: str,
    *,
    out: str | Path | None = None,
    recipe: str | Recipe = "quick",
    preset: str | None = None,
    prior: str | None = None,
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
        resume: continue the run in `out`; the recipe and prompt are then the ones it was begun with.

    Returns:
        The finished run.

    Raises:
        ScoreliftError: for bad input, an empty scene, values that are not finite, too little memory. Nothing of another
            run is touched.
    """
    if not prompt.strip():
        raise bad("prompt", expected="a sentence", got=prompt, remedy='For example: "a red mushroom".')
    where = pick_device(device)
    team = Team.join(where)
    plan = find_recipe(recipe, preset) if isinstance(recipe, str) else recipe
    if steps is not None:
        plan = plan.with_steps(steps)
    changes: dict[str, Any] = {k: v for k, v in (("prior", prior), ("seed", seed)) if v is not None}
    plan = dataclasses.replace(plan, **changes)
    path = Path(out) if out is not None else Path("runs") / f"{slug(prompt)}-{plan.seed}"
    run = _resumed(path, prompt, plan.until) if resume and (path / "config.json").exists() else None
    if run is not None and run.finished:
        return run
    asked = run.recipe if run else plan
    if where == "cuda" and team.leads:
        _foretell(asked, prompt, quiet=quiet)
    try:
        model = load_prior(asked.prior, where, asked.model)
    except torch.OutOfMemoryError as error:
        raise exhausted("the prior", asked, *next(iter(asked.stages().items())), error) from error
    plan = plan.fitted(model.channels if model.bound is None else 0)
    model.check_prompt(prompt)
    for stage in asked.stages().values():
        if stage.prior is not None:
            check_there(stage.prior)
    if start is not None and run is None:
        start_scene(Run.open(Path(start)), plan)  # told now if it cannot be used
    if run is None and team.leads:
        run = Run.create(path, prompt, plan, start=start)
    team.wait()
    job = Job(run or Run.open(path), model, where, team, quiet=quiet or not team.leads)
    del model  # the job lets go of it when a stage has another
    return job.go()


def _foretell(recipe: Recipe, prompt: str, *, quiet: bool) -> None:
    """Say what the card will not hold, as far as can be told; what is wrong with the prior, loading it says."""
    with suppress(ScoreliftError, RuntimeError):
        text = shortage(planned(recipe, prompt), recipe, torch.cuda.mem_get_info()[0])
        if text is not None:
            Progress(1, quiet=quiet).say(text)


def _resumed(path: Path, prompt: str, until: str | None) -> Run:
    run = Run.open(path)
    if run.prompt != prompt:
        raise bad("prompt", expected=f"the prompt of the run in {path}, {run.prompt!r}", got=prompt)
    return run if run.recipe.until == until else run.until(until)


class Job:
    """The work of one run, from wherever it stands."""

    def __init__(self, run: Run, prior: Prior, device: str, team: Team, *, quiet: bool = False) -> None:
        self.run, self.device, self.team = run, device, team
        self.prior, self.loaded = prior, run.recipe.prior
        self.recipe = run.recipe
        self.stages = list(self.recipe.stages().items())
        self.quiet = quiet
        self.seconds: dict[str, float] = {}
        self.processor_seconds: dict[str, float] = {}

    def go(self) -> Run:
        """Run the remaining steps, then write the outputs."""
        started = time.monotonic()
        scene, index, state = self._restore()
        total = sum(stage.steps for _, stage in self.stages)
        before = sum(stage.steps for _, stage in self.stages[:index]) + (state["step"] if state else 0)
        progress = Progress(total, before, quiet=self.quiet)
        for i in range(index, len(self.stages)):
            try:
                scene = self._stage(i, scene, state if i == index else None, progress)
            except torch.OutOfMemoryError as error:
                name, stage = self.stages[i]
                raise self._stopped(exhausted(f"stage {name}", self.recipe, name, stage, error)) from error
            state = None
        progress.close()
        assert scene is not None
        if self.team.leads:
            self._finish(scene, started, progress)
        self.team.wait()
        return self.run

    def _restore(self) -> tuple[Scene | None, int, dict[str, Any] | None]:
        """The scene before the stage to run, that stage's index, and its state if it was begun."""
        found = self.run.latest_checkpoint()
        if found is None:
            start = self.run.config.get("start")
            scene = start_scene(Run.open(Path(start)), self.recipe) if start else None
            return scene, 0, None
        path, index, name, step = found
        if index >= len(self.stages) or self.stages[index][0] != name:
            raise bad("checkpoint", expected=f"a stage of recipe {self.recipe.name}", got=path.name)
        state = self.run.load_checkpoint(path)
        if self.team.leads:
            self.run.rewind_log(index, step)
        return None, index, state

    def _stage(self, index: int, previous: Scene | None, state: dict[str, Any] | None, progress: Progress) -> Scene:
        name, stage = self.stages[index]
        self._take_prior(stage.prior or self.recipe.prior)
        torch.manual_seed(self.recipe.seed * 1009 + index)
        scene = build_scene(stage.scene, previous)
        if isinstance(scene, Volume) and scene.latent:
            scene.look_by(self.prior.linear_look())
        loop = Loop(
            name, stage, scene, self.prior, self.run.prompt, seed=self.recipe.seed, device=self.device, team=self.team
        )
        loop.told = partial(self._again, index, loop, progress)
        if state is not None:
            loop.load(state)
        started = saved = shown = time.monotonic()
        worked = time.process_time()
        try:
            with Interrupt() as interrupt:
                while not loop.done:
                    entry = loop.one_step()
                    if self.team.leads:
                        self.run.log(
                            {
                                "index": index,
                                "stage": name,
                                **{k: _short(v) for k, v in vars(entry).items() if v is not None},
                            }
                        )
                        progress.step(f"{name}  noise {entry.time:.2f}  opacity {entry.opacity:.2f}")
                    now = time.monotonic()
                    if interrupt.asked or (now - saved > CHECKPOINT_S and not loop.done):
                        self._save(index, loop)
                        saved = now
                    if interrupt.asked:
                        progress.close()
                        raise KeyboardInterrupt
                    if now - shown > PREVIEW_S and isinstance(scene, Body) and self.team.leads:
                        with suppress(torch.OutOfMemoryError):  # nobody needs it
                            write_png(self.run.path / "live.png", strip(scene.coloured(), 96))
                        shown = now
        except ScoreliftError as error:
            raise self._stopped(error) from error
        self._save(index, loop)
        loop.close()
        self.seconds[name] = round(time.monotonic() - started, 2)
        self.processor_seconds[name] = round(time.process_time() - worked, 2)
        if self.recipe.finish.every_stage and index + 1 < len(self.stages) and self.team.leads:
            self._show_stage(name, scene)
        return scene

    def _stopped(self, error: ScoreliftError) -> ScoreliftError:
        """The error, with what is left of the run."""
        last = self.run.latest_checkpoint()
        return ScoreliftError(f"{error} The last good checkpoint is {last[0]}.") if last else error

    def _again(self, index: int, loop: Loop, progress: Progress, text: str, whole: bool) -> None:
        """Before a step is tried again for want of memory: keep what is there, say so."""
        if whole:
            self._save(index, loop)
        progress.say(text)

    def _take_prior(self, name: str) -> None:
        """Hold the prior of a stage, and no other."""
        if name == self.loaded:
            return
        del self.prior  # before the next one takes its memory
        self.prior, self.loaded = load_prior(name, self.device, self.recipe.model), name
        self.prior.check_prompt(self.run.prompt)

    def _show_stage(self, name: str, scene: Scene) -> None:
        """What a stage that is not the last leaves: stages/NAME/preview.png and asset.glb."""
        folder = self.run.path / "stages" / name
        folder.mkdir(parents=True, exist_ok=True)
        still = scene.to("cpu").coloured()
        write_png(folder / "preview.png", preview(still.gridded(), self.recipe.finish.preview_size))
        if isinstance(still, Body):
            write_bytes(folder / "asset.glb", to_glb(make_asset(still, self.recipe.finish), slug(self.run.prompt)))
        scene.to(self.device)

    def _save(self, index: int, loop: Loop) -> None:
        if self.team.leads:
            self.run.save_checkpoint(index, loop.name, loop.step, loop.state(), last=loop.done)

    def _finish(self, scene: Scene, started: float, progress: Progress) -> None:
        path, finish = self.run.path, self.recipe.finish
        begun = time.monotonic()
        facts: dict[str, Any] = {}
        if scene.latent:
            try:
                write_decoded(path, scene, self.prior)
            except torch.OutOfMemoryError:
                progress.say("decoded.png is left out: memory does not hold the decoder's work")
        scene = scene.to("cpu").coloured()
        write_pictures(path, scene.gridded(), finish)
        if isinstance(scene, Body):
            progress.say("making the mesh")
            asset = make_asset(scene, finish)
            write_bytes(path / "asset.glb", to_glb(asset, slug(self.run.prompt)))
            facts |= {"faces": len(asset.faces), "vertices": len(asset.vertices)}
        self.seconds["outputs"] = round(time.monotonic() - begun, 2)
        facts |= {
            "recipe": self.recipe.name, "prior": self.recipe.prior, "seed": self.recipe.seed, "device": self.device,
            "seconds": round(time.monotonic() - started, 2), "seconds_by_part": self.seconds,
            "processor_seconds_by_stage": self.processor_seconds,
            "peak_memory_mib": _peak_mib(), **self._device_memory(),
            "scorelift": __version__, "torch": torch.__version__,
        }  # fmt: skip
        write_report(self.run, facts)
        write_json(path / "metrics.json", facts)
        (path / "live.png").unlink(missing_ok=True)

    def _device_memory(self) -> dict[str, Any]:
        """Peak memory on the card, and how stages were shared out for want of it."""
        facts: dict[str, Any] = {}
        if self.device == "cuda":
            facts["peak_device_memory_mib"] = int(torch.cuda.max_memory_allocated() / 2**20)
        shared = {}
        for entry in self.run.read_log():
            if found := {name: entry[name] for name in ("slices", "bands") if name in entry}:
                shared[entry["stage"]] = found
        return {**facts, "portions_by_stage": shared} if shared else facts


def _short(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _peak_mib() -> int | None:
    """Peak resident memory of this process in MiB; None where the system does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak / (1024 * 1024 if sys.platform == "darwin" else 1024))
