"""The optimization loop: one for every method, in two dimensions and three."""

from __future__ import annotations

import gc
import hashlib
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..core.cameras import Cameras
from ..core.diffusion import Level
from ..core.errors import ScoreliftError
from ..core.memory import memory_errors
from ..core.team import Team
from ..distill.base import Terms
from ..distill.noise import Noise
from ..distill.prompts import ViewPrompts
from ..distill.twin import Twin
from ..priors.base import Prior
from ..recipes.base import Stage
from ..scenes import Scene, Volume
from ..scenes.base import Render
from .guide import load_guide
from .look import Look, StepLog
from .penalty import penalty_of
from .portions import Portions, sparing_prior, sparing_scene, views_together

T = TypeVar("T")


def step_generator(seed: int, stage: str, step: int) -> torch.Generator:
    """The source of all of a step's randomness, so that a resumed run repeats an uninterrupted one."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


class Loop:
    """Optimizes one stage's scene against a prior.

    When memory runs out, the step at hand and those after it are taken in smaller portions; where none is small enough,
    the prior's weights rest in CPU memory. `told`, if there is one, hears of it before the step is tried again, and
    whether the scene still is as after the last whole step.
    """

    def __init__(self, name: str, stage: Stage, scene: Scene, prior: Prior, prompt: str, *, seed: int,
                 device: str | torch.device = "cpu", team: Team | None = None) -> None:  # fmt: skip
        self.name, self.stage, self.scene, self.prior, self.seed = name, stage, scene.to(device), prior, seed
        self.team = team or Team()
        self.mine = self.team.mine(stage.views)
        self.portions = self.asked = Portions(stage.slices, stage.bands)
        self.told: Callable[[str, bool], None] | None = None
        self.group = views_together(scene, prior, len(self.mine))
        self.device = torch.device(device)
        self.prompts = ViewPrompts(prior, prompt, **asdict(stage.prompting))
        self.optimizer = stage.optimizer.build(scene.groups(1.0))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        guide = load_guide(stage)
        self.guide = None if guide is None else guide.to(device)
        self.step = 0
        config = getattr(stage.distiller, "twin", None)
        self.twin = Twin(prior, config, seed) if config is not None and config.kind == "lora" else None

    @property
    def done(self) -> bool:
        return self.step >= self.stage.steps

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on.

        Raises:
            ScoreliftError: if a parameter is not finite.
        """
        self._check_all(dict(self.scene.named_parameters()), self.step)
        twin = {} if self.twin is None else {"twin": self.twin.state()}
        return {"stage": self.name, "step": self.step, "scene": self.scene.state_dict(),
                "optimizer": self.optimizer.state_dict(), **twin}  # fmt: skip

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.scene.load_state_dict(state["scene"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        if self.twin is not None:
            self.twin.load(state["twin"])

    def close(self) -> None:
        """Let go of the prior."""
        if self.twin is not None:
            self.twin.adapters.remove()

    def one_step(self) -> StepLog:
        """Render, distill, regularize, update.

        Raises:
            ScoreliftError: if a gradient is not finite; the scene stays as it was.
            torch.OutOfMemoryError: if memory does not hold the smallest portions.
        """
        stage, progress = self.stage, self.step / self.stage.steps
        self.scene.update(self.step, progress)
        looks = self._as_memory_allows(lambda: self._looks(progress))
        self.team.average(self.scene.parameters())
        self._check_all(
            {f"the gradient of {n}": p.grad for n, p in self.scene.named_parameters() if p.grad is not None}
        )
        self.scene.heed()
        rate = stage.optimizer.rate.at(progress)
        for group, base in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = base * rate
        self.optimizer.step()
        twin = self._teach_twin(looks, progress)
        self.step += 1
        instead = self.portions if self.portions != self.asked else None
        return StepLog.of(looks, self.step, self.step / stage.steps, twin, instead)

    def _looks(self, progress: float) -> list[Look]:
        """All of the step's views, part by part, and the scene's gradient."""
        self.optimizer.zero_grad(set_to_none=True)
        return [self._look_at(self.mine[part], progress) for part in self.portions.parts(len(self.mine), self.group)]

    def _look_at(self, views: Tensor, progress: float) -> Look:
        """Render, distill and regularize some of the step's views, whose share of the gradient is added to the scene's.

        All that is random is drawn for all views, so that the parts see what the whole would.
        """
        generator = step_generator(self.seed, self.name, self.step)
        share = len(views) / len(self.mine)
        bands = self.portions.bands
        with sparing_scene(self.scene, bands), sparing_prior(self.prior, bands) as prior:
            cameras, render, far = self._render(views, progress, generator)
            terms = self.prompts.terms(cameras)
            z = render.rgb if self.scene.latent else prior.encode(render.rgb)
            gradient, time = self._distill(prior, z.detach(), views, terms, progress, generator)
            self._check("the distiller's gradient", gradient)
            penalty = penalty_of(self.stage.penalties, self.scene, render, far, progress)
            if self.guide is not None:  # at places of its own, the same for each part of the views
                places = step_generator(self.seed, f"{self.name}/guide", self.step)
                weight = self.stage.guide.weight.at(progress)
                penalty = penalty + weight * self.guide.loss(self.scene, self.stage.guide.sigma, places)
            outputs, gradients = [z], [gradient / z.shape[-1] ** 2 / (len(z) * len(self.mine) / len(views))]
            if penalty.requires_grad:
                outputs, gradients = [z, penalty], [*gradients, torch.full_like(penalty, share)]
            torch.autograd.backward(outputs, gradients)
        opacity = render.opacity.detach().mean()
        return Look(terms, z.detach(), gradient, time, penalty.detach(), opacity, generator)

    def _render(self, views: Tensor, progress: float, generator: torch.Generator) -> tuple[Cameras, Render, float]:
        """Cameras and pictures of some views, and a distance beyond all that any of the step's cameras sees."""
        stage = self.stage
        cameras = stage.cameras.draw(stage.views, generator)
        lights = stage.lights.draw(cameras, generator).to(self.device)
        shading = stage.shading.draw(progress, generator)
        backdrop = stage.backdrops.draw(stage.views, stage.size, generator).to(self.device)
        jitter = torch.rand(stage.views, stage.size, stage.size, generator=generator).to(self.device)
        learned = getattr(self.scene, "environment", None) is not None
        render = self.scene.render(
            cameras[views].to(self.device), stage.size, lights=lights[views], shading=shading,
            background=None if learned else backdrop[views], jitter=jitter[views],
        )  # fmt: skip
        return cameras[views], render, float(cameras.position.norm(dim=-1).max()) + self.scene.reach

    def _distill(
        self, prior: Prior, z: Tensor, views: Tensor, terms: Terms, progress: float, generator: torch.Generator
    ) -> tuple[Tensor, float]:
        """The distiller's gradient on z, averaged over the stage's noise draws, and the mean time of those.

        Every second draw is the opposite of the one before: what is linear in the noise falls out of their mean. The
        prior sees the two together, unless memory is to be spared.
        """
        stage, total, time = self.stage, torch.zeros_like(z), 0.0
        twin: dict[str, Any] = {} if self.twin is None else {"twin": self.twin}
        for left in range(stage.draws, 0, -2):
            level, noise = self._noise(stage.noise, z, views, progress, generator)
            pair = [noise, -noise][:left]
            for some in [pair] if self.portions.slices == 1 else [[one] for one in pair]:
                n = len(some)
                found = stage.distiller(
                    prior, z.repeat(n, 1, 1, 1), terms.repeat(n), level.repeat(n), torch.cat(some), **twin
                )
                total = total + found.gradient.unflatten(0, (n, -1)).sum(0)
            time += len(pair) * float((level.sigma_t / (level.sigma_t + level.alpha_t)).mean())
        return total / stage.draws, time / stage.draws

    def _noise(
        self, noise: Noise, z: Tensor, views: Tensor, progress: float, generator: torch.Generator
    ) -> tuple[Level, Tensor]:
        """Levels and noise of some views; drawn for all, so that processes agree, and parts of a step."""
        count = self.stage.views
        level = noise.draw(self.prior, count, progress, generator)[views]
        return level, torch.randn(count, *z.shape[1:], generator=generator)[views].to(z)

    def _teach_twin(self, looks: list[Look], progress: float) -> float | None:
        """The twin's steps on the renders of this step, at fresh levels and noise."""
        if self.twin is None:
            return None
        loss, z = 0.0, torch.cat([look.z for look in looks])
        for _ in range(self.twin.config.steps):
            levels = self.stage.noise if self.twin.config.along else self.twin.config.noise
            level, noise = self._noise(levels, z, self.mine, progress, looks[-1].generator)
            loss = self._as_memory_allows(lambda: self._lesson(looks, z, level, noise), between=False)  # noqa: B023
            self.team.average(self.twin.adapters.parameters())
            self.twin.optimizer.step()
        return loss

    def _lesson(self, looks: list[Look], z: Tensor, level: Level, noise: Tensor) -> float:
        """The twin's loss on the renders, part by part, and its gradient."""
        assert self.twin is not None
        self.twin.optimizer.zero_grad(set_to_none=True)
        total, parts = 0.0, self.portions.parts(len(self.mine), self.group)
        loud = 2.0 ** round(math.log2(z[0].numel()))  # a mean's gradient is too small for half precision
        for i, part in enumerate(parts):
            if len(looks) == len(parts):
                terms = looks[i].terms
            else:  # memory ran out here: the parts are smaller than those that were looked at
                cameras = self.stage.cameras.draw(self.stage.views, step_generator(self.seed, self.name, self.step))
                terms = self.prompts.terms(cameras[self.mine[part]])
            loss = self.twin.loss(z[part], terms, level[part], noise[part]) * (len(part) / len(self.mine))
            self._check("the twin's loss", loss)
            (loss * loud).backward()
            total += float(loss.detach())
        gradients = [p.grad for p in self.twin.adapters.parameters() if p.grad is not None]
        torch._foreach_div_(gradients, loud)
        self._check("the gradient of the twin", torch.stack([g.sum() for g in gradients]))
        return total

    def _as_memory_allows(self, work: Callable[[], T], *, between: bool = True) -> T:
        """What `work` gives; when memory runs out in it, again, in smaller portions, at last with the prior's weights
        in CPU memory. Its draws are the same each time.

        Args:
            between: whether the scene still is as after the last whole step.

        Raises:
            torch.OutOfMemoryError: if memory does not hold the smallest portion, and weights cannot rest.
        """
        while True:
            try:
                with memory_errors():
                    return work()
            except torch.OutOfMemoryError:
                smaller = self.portions.smaller(len(self.mine) // self.group, rays=isinstance(self.scene, Volume))
                if smaller is None and not self.prior.can_rest:
                    raise
            # Not in the except clause: there the error still holds what was computed.
            for optimizer in (self.optimizer, *([self.twin.optimizer] if self.twin else [])):
                optimizer.zero_grad(set_to_none=True)
            if smaller is None:
                self.prior.rest()
            else:
                self.portions = smaller
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            if self.told is not None:
                now = f"its views now come {smaller}" if smaller else "the prior's weights now rest in CPU memory"
                self.told(f"memory ran out in stage {self.name}, step {self.step + 1}: {now}; the result is the same "
                          "up to rounding, steps are slower", between)  # fmt: skip

    def _check_all(self, tensors: dict[str, Tensor], step: int | None = None) -> None:
        """Check several, of the step at hand unless another is given; a card is waited for once."""
        if tensors and not torch.stack([tensor.sum() for tensor in tensors.values()]).isfinite().all():
            for what, tensor in tensors.items():
                self._check(what, tensor, step)

    def _check(self, what: str, tensor: Tensor, step: int | None = None) -> None:
        if not tensor.sum().isfinite() and not tensor.isfinite().all():  # the sum is quick and tells nearly always
            rate = self.stage.optimizer.rate
            leaf = next(name for name in ("value", "peak", "start", "values") if hasattr(rate, name))
            number = self.step + 1 if step is None else step
            raise ScoreliftError(f"stage {self.name}, step {number}: {what} is not finite. Lower the learning rate "
                                 f"(--{self.name}.optimizer.rate.{leaf}) or the guidance.")  # fmt: skip
