"""The optimization loop: one for every method, in two dimensions and three."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.cameras import Cameras
from ..core.diffusion import Level
from ..core.errors import ScoreliftError
from ..distill.base import Terms
from ..distill.noise import Noise
from ..distill.prompts import ViewPrompts
from ..distill.twin import Twin
from ..priors.base import Prior
from ..recipes.base import Stage
from ..scenes import Scene
from ..scenes.base import Render
from ..scenes.losses import (
    bending_loss,
    centre_depth_loss,
    emptiness_loss,
    opacity_loss,
    orientation_loss,
    transmittance_loss,
    unevenness_loss,
)
from .team import Team


def step_generator(seed: int, stage: str, step: int) -> torch.Generator:
    """The source of all of a step's randomness, so that a resumed run repeats an uninterrupted one."""
    digest = hashlib.sha256(f"{seed}/{stage}/{step}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


@dataclass(frozen=True)
class StepLog:
    """What one step did."""

    step: int
    progress: float
    time: float
    "Mean noise time of the step, as sigma_t / (alpha_t + sigma_t)."
    gradient: float
    "Root mean square of the distiller's gradient on z."
    penalty: float
    opacity: float
    twin: float | None = None
    "Loss of the distiller's twin, if it has one."


class Loop:
    """Optimizes one stage's scene against a prior."""

    def __init__(self, name: str, stage: Stage, scene: Scene, prior: Prior, prompt: str, *, seed: int,
                 device: str | torch.device = "cpu", team: Team | None = None) -> None:  # fmt: skip
        self.name, self.stage, self.scene, self.prior, self.seed = name, stage, scene.to(device), prior, seed
        self.team = team or Team()
        self.mine = self.team.mine(stage.views)
        self.device = torch.device(device)
        self.prompts = ViewPrompts(prior, prompt, **asdict(stage.prompting))
        self.optimizer = stage.optimizer.build(scene.groups(1.0))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        self.step = 0
        config = getattr(stage.distiller, "twin", None)
        self.twin = Twin(prior, config, seed) if config is not None and config.kind == "lora" else None

    @property
    def done(self) -> bool:
        return self.step >= self.stage.steps

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
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
            ScoreliftError: if a gradient or parameter is not finite; the scene keeps its last finite state.
        """
        stage, progress = self.stage, self.step / self.stage.steps
        generator = step_generator(self.seed, self.name, self.step)
        self.scene.update(self.step, progress)
        cameras, render = self._look(progress, generator)
        terms = self.prompts.terms(cameras)

        z = render.rgb if self.scene.latent else self.prior.encode(render.rgb)
        gradient, time = self._distill(z.detach(), terms, progress, generator)
        self._check("the distiller's gradient", gradient)

        penalty = self._penalty(render, cameras, progress)
        self.optimizer.zero_grad(set_to_none=True)
        outputs, gradients = [z], [gradient / z.shape[-1] ** 2 / len(z)]
        if penalty.requires_grad:
            outputs, gradients = [z, penalty], [*gradients, torch.ones_like(penalty)]
        torch.autograd.backward(outputs, gradients)
        self.team.average(self.scene.parameters())
        for name, parameter in self.scene.named_parameters():
            if parameter.grad is not None:
                self._check(f"the gradient of {name}", parameter.grad)
        rate = stage.optimizer.rate.at(progress)
        for group, base in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = base * rate
        self.optimizer.step()
        twin = self._teach_twin(z.detach(), terms, progress, generator)
        self.step += 1
        return StepLog(
            step=self.step,
            progress=self.step / stage.steps,
            time=time,
            gradient=float(gradient.square().mean().sqrt()),
            penalty=float(penalty.detach()),
            opacity=float(render.opacity.detach().mean()),
            twin=twin,
        )

    def _look(self, progress: float, generator: torch.Generator) -> tuple[Cameras, Render]:
        stage = self.stage
        cameras = stage.cameras.draw(stage.views, generator)
        lights = stage.lights.draw(cameras, generator).to(self.device)
        shading = stage.shading.draw(progress, generator)
        backdrop = stage.backdrops.draw(stage.views, stage.size, generator).to(self.device)
        jitter = torch.rand(stage.views, stage.size, stage.size, generator=generator).to(self.device)
        learned = getattr(self.scene, "environment", None) is not None
        mine = self.mine
        render = self.scene.render(
            cameras[mine].to(self.device), stage.size, lights=lights[mine], shading=shading,
            background=None if learned else backdrop[mine], jitter=jitter[mine],
        )  # fmt: skip
        return cameras[mine], render

    def _distill(self, z: Tensor, terms: Terms, progress: float, generator: torch.Generator) -> tuple[Tensor, float]:
        """The distiller's gradient on z, averaged over the stage's noise draws, and the mean time of those."""
        stage, total, time = self.stage, torch.zeros_like(z), 0.0
        twin: dict[str, Any] = {} if self.twin is None else {"twin": self.twin}
        for _ in range(stage.draws):
            level, noise = self._noise(stage.noise, z, progress, generator)
            total = total + stage.distiller(self.prior, z, terms, level, noise, **twin).gradient
            time += float((level.sigma_t / (level.sigma_t + level.alpha_t)).mean())
        return total / stage.draws, time / stage.draws

    def _noise(self, noise: Noise, z: Tensor, progress: float, generator: torch.Generator) -> tuple[Level, Tensor]:
        """Levels and noise of this process's renders; drawn for all views, so that processes agree."""
        views = self.stage.views
        level = noise.draw(self.prior, views, progress, generator)[self.mine]
        return level, torch.randn(views, *z.shape[1:], generator=generator)[self.mine].to(z)

    def _teach_twin(self, z: Tensor, terms: Terms, progress: float, generator: torch.Generator) -> float | None:
        """The twin's steps on the renders of this step, at fresh levels and noise."""
        if self.twin is None:
            return None
        loss = torch.zeros(())
        for _ in range(self.twin.config.steps):
            loss = self.twin.loss(z, terms, *self._noise(self.twin.config.noise, z, progress, generator))
            self._check("the twin's loss", loss)
            self.twin.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.team.average(self.twin.adapters.parameters())
            self.twin.optimizer.step()
        return float(loss.detach())

    def _penalty(self, render: Render, cameras: Cameras, progress: float) -> Tensor:
        weights = self.stage.penalties
        total = torch.zeros((), device=self.device)
        if (w := weights.opacity.at(progress)) > 0:
            total = total + w * opacity_loss(render)
        if (w := weights.emptiness.at(progress)) > 0:
            total = total + w * emptiness_loss(render)
        if (w := weights.orientation.at(progress)) > 0 and render.normal is not None:
            total = total + w * orientation_loss(render)
        if (w := weights.roughness.at(progress)) > 0:
            total = total + w * self.scene.roughness()
        if (w := weights.bending.at(progress)) > 0:
            total = total + w * bending_loss(render)
        if (w := weights.unevenness.at(progress)) > 0:
            total = total + w * unevenness_loss(render)
        if (w := weights.centre_depth.at(progress)) > 0:
            total = total + w * centre_depth_loss(render, float(cameras.position.norm(dim=-1).max()) + 1)
        if (w := weights.transmittance.at(progress)) > 0:
            total = total + w * transmittance_loss(render, weights.transmittance_target.at(progress))
        return total

    def _check(self, what: str, tensor: Tensor) -> None:
        if not tensor.sum().isfinite() and not tensor.isfinite().all():  # the sum is quick and tells nearly always
            raise ScoreliftError(f"stage {self.name}, step {self.step}: {what} is not finite. Lower the learning rate "
                                 "(--STAGE.optimizer.rate.value) or the guidance.")  # fmt: skip
