"""The work of one run: every stage in turn, checkpoints on the way, outputs at the end."""

from __future__ import annotations

import gc
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ..core.errors import ScoreliftError, bad
from ..core.files import write_bytes, write_json
from ..core.memory import memory_errors
from ..core.team import Team
from ..export.gltf import to_glb
from ..priors.base import Prior
from ..priors.registry import load_prior
from ..recipes.base import check_channels
from ..scenes import Body, Scene, Volume, build_scene
from ..version import __version__
from .checks import check_asked
from .interrupt import Interrupt
from .loop import Loop
from .outputs import make_asset, portrayed, write_decoded, write_live, write_pictures, write_preview, write_report
from .plan import exhausted
from .progress import Progress
from .results import start_scene
from .run import Run, checkpoint_parts, slug
from .watch import Watch

CHECKPOINT_S = 15.0
PREVIEW_S = 8.0


class Job:
    """The work of one run, from wherever it stands."""

    def __init__(self, run: Run, prior: Prior, device: str, team: Team, *, quiet: bool = False) -> None:
        self.run, self.device, self.team = run, device, team
        self.prior, self.loaded = prior, run.recipe.prior
        self.recipe = run.recipe
        self.stages = list(self.recipe.stages().items())
        self.quiet = quiet
        self.watch = Watch()

    def go(self) -> Run:
        """Run the remaining steps, then write the outputs."""
        scene, index, state = self._restore()
        total = sum(stage.steps for _, stage in self.stages)
        before = sum(stage.steps for _, stage in self.stages[:index]) + (state["step"] if state else 0)
        progress = Progress(total, before, quiet=self.quiet)
        for i in range(index, len(self.stages)):
            try:
                with memory_errors():
                    scene = self._stage(i, scene, state if i == index else None, progress)
            except torch.OutOfMemoryError as error:
                name, stage = self.stages[i]
                raise self._stopped(exhausted(f"stage {name}", self.recipe, name, stage, error)) from error
            state = None
        progress.close()
        assert scene is not None
        if self.team.leads:
            self._finish(scene, progress)
        self.team.wait()
        return self.run

    def _restore(self) -> tuple[Scene | None, int, dict[str, Any] | None]:
        """The scene before the stage to run, that stage's index, and its state if it was begun."""
        found = self.run.load_newest()
        self.team.wait()  # until all have read it
        if found is None:
            if self.team.leads:
                self.run.rewind_log(-1, 0)
            start = self.run.config.get("start")
            scene = start_scene(Run.open(Path(start)), self.recipe) if start else None
            return scene, 0, None
        path, state, damaged = found
        index, name, step = checkpoint_parts(path)
        if index >= len(self.stages) or self.stages[index][0] != name:
            raise bad("checkpoint", expected=f"a stage of recipe {self.recipe.name}", got=path.name)
        if self.team.leads:
            if damaged:
                self._lay_aside(damaged, path)
            self.run.rewind_log(index, step)
        self.watch.load(state.pop("watch", {}))
        return None, index, state

    def _lay_aside(self, damaged: list[Path], good: Path) -> None:
        """Put checkpoints that cannot be read out of the way, and say which is used instead."""
        for path in damaged:
            path.replace(path.with_name(f"{path.name}.damaged"))
        text = " and ".join(str(path) for path in damaged)
        Progress(1, quiet=self.quiet).say(f"{text}: damaged, and laid aside with the ending .damaged; the run goes on "
                                          f"from the checkpoint before, {good.name}")  # fmt: skip

    def _stage(self, index: int, previous: Scene | None, state: dict[str, Any] | None, progress: Progress) -> Scene:
        name, stage = self.stages[index]
        self._take_prior(stage.prior or self.recipe.prior)
        check_channels(name, stage.scene, self.prior.channels if self.prior.bound is None else 0)
        check_asked(self.prior, name, stage)
        torch.manual_seed(self.recipe.seed * 1009 + index)
        source = f"in stage {self.stages[index - 1][0]}" if index else "in the scene to start from"
        scene = build_scene(stage.scene, previous, f"{name}.scene", source)
        if isinstance(scene, Volume) and scene.latent:
            scene.look_by(self.prior.linear_look())
        loop = Loop(
            name, stage, scene, self.prior, self.run.prompt, seed=self.recipe.seed, device=self.device, team=self.team
        )
        loop.told = partial(self._again, index, loop, progress)
        if state is not None:
            loop.load(state)
        saved = shown = time.monotonic()
        try:
            with self.watch.part(name), Interrupt() as interrupt:
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
                        raise interrupt.error()
                    if now - shown > PREVIEW_S and self.team.leads:
                        with suppress(torch.OutOfMemoryError), memory_errors():  # nobody needs it
                            write_live(self.run.path, scene, self.recipe.finish)
                        shown = now
            self._save(index, loop)
        except ScoreliftError as error:
            raise self._stopped(error) from error
        loop.close()
        if self.recipe.finish.every_stage and index + 1 < len(self.stages) and self.team.leads:
            self._show_stage(name, scene)
        return scene

    def _stopped(self, error: ScoreliftError) -> ScoreliftError:
        """The error, of its own class, with what is left of the run."""
        last = self.run.latest_checkpoint()
        return type(error)(f"{error} The last good checkpoint is {last[0]}.") if last else error

    def _again(self, index: int, loop: Loop, progress: Progress, text: str, whole: bool) -> None:
        """Before a step is tried again for want of memory: keep what is there, say so."""
        if whole:
            self._save(index, loop)
        progress.say(text)

    def _take_prior(self, name: str) -> None:
        """Hold the prior of a stage, and no other."""
        if name == self.loaded:
            return
        del self.prior  # before the next one takes its memory; the last loop, a circle of references, holds it too
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()
        model = self.recipe.model if name == self.recipe.prior else self.recipe.model.plain()
        self.prior, self.loaded = load_prior(name, self.device, model), name
        self.prior.check_prompt(self.run.prompt)

    def _show_stage(self, name: str, scene: Scene) -> None:
        """What a stage that is not the last leaves: stages/NAME/preview.png and asset.glb."""
        folder = self.run.path / "stages" / name
        folder.mkdir(parents=True, exist_ok=True)
        still, finish = scene.coloured(), self.recipe.finish
        portrayed(still, lambda model: write_preview(folder, model, finish))
        if isinstance(still, Body):
            write_bytes(folder / "asset.glb", to_glb(make_asset(still.to("cpu"), finish), slug(self.run.prompt)))
        scene.to(self.device)

    def _save(self, index: int, loop: Loop) -> None:
        if self.team.leads:
            state = {**loop.state(), "watch": self.watch.state()}
            self.run.save_checkpoint(index, loop.name, loop.step, state, last=loop.done)

    def _finish(self, scene: Scene, progress: Progress) -> None:
        with self.watch.part("outputs"):
            facts = self._outputs(scene, progress)
        stages = (name for name, _ in self.stages)
        facts |= {
            "recipe": self.recipe.name, "prior": self.recipe.prior, "seed": self.recipe.seed, "device": self.device,
            "seconds": round(self.watch.seconds, 2),
            "seconds_by_part": {name: round(seconds, 2) for name, seconds in self.watch.parts.items()},
            "processor_seconds_by_stage": {
                name: round(self.watch.processor[name], 2) for name in stages if name in self.watch.processor
            },
            "peak_memory_mib": _peak_mib(), **self._device_memory(),
            "scorelift": __version__, "torch": torch.__version__,
        }  # fmt: skip
        write_report(self.run, facts)
        write_json(self.run.path / "metrics.json", facts)
        (self.run.path / "live.png").unlink(missing_ok=True)

    def _outputs(self, scene: Scene, progress: Progress) -> dict[str, Any]:
        """Write pictures and, of a scene with a body, the mesh, of which it returns figures."""
        path, finish = self.run.path, self.recipe.finish
        if scene.latent:
            try:
                with memory_errors():
                    write_decoded(path, scene, self.prior)
            except torch.OutOfMemoryError:
                progress.say("decoded.png is left out: memory does not hold the decoder's work")
        scene = scene.coloured()
        portrayed(scene, lambda model: write_pictures(path, model, finish))
        if isinstance(scene, Body):
            progress.say("making the mesh")
            asset = make_asset(scene.to("cpu"), finish)
            write_bytes(path / "asset.glb", to_glb(asset, slug(self.run.prompt)))
            return {"faces": len(asset.faces), "vertices": len(asset.vertices)}
        return {}

    def _device_memory(self) -> dict[str, Any]:
        """Peak memory on the card, and what was done for want of it."""
        facts: dict[str, Any] = {}
        if self.device == "cuda":
            facts["peak_device_memory_mib"] = int(torch.cuda.max_memory_allocated() / 2**20)
        if self.prior.resting:
            facts["prior_in_cpu_memory_mib"] = int(self.prior.resting / 2**20)
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
