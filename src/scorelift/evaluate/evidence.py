"""Which of several runs of a prompt is the best, by the prior's own word, with no other model.

A denoiser knows how likely a picture is: its errors, summed over all noise, are the picture's log likelihood but for a
constant. So the errors without any prompt less those with it are log p(picture | prompt) - log p(picture): how many
nats the picture says for its prompt. Told where the camera stands as well, it says so too of the view: a second face
at the back speaks against it.

Ref: pointwise I-MMSE: Kong, Brekelmans & Ver Steeg, "Information-theoretic diffusion" (2023), Eq. 9; a denoiser as a
classifier: Li et al., "Your diffusion model is secretly a zero-shot classifier" (2023).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.camera_samplers import RingSampler
from ..core.cameras import Cameras
from ..core.diffusion import Level
from ..core.errors import bad, check_at_least, check_seed
from ..distill.prompts import ViewPrompts
from ..engine.generate import pick_device
from ..engine.results import final_scene
from ..engine.run import Run
from ..priors.base import Condition, Prior
from ..priors.registry import load_prior
from ..scenes import Body
from .assets import check_different, check_finished, look
from .retrieval import interval

LATENT_PIXELS = 256
"Of a render for a prior of latents, which enlarges it for its encoder."


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """How evidence is gathered."""

    views: int = 8
    "Azimuths a run is looked at from, evenly around."
    elevation_deg: float = 15.0
    levels: int = 12
    "Noise levels at which the prior is asked, with noise and its opposite, so that what is linear in it falls out."
    sigma: tuple[float, float] = (0.1, 20.0)
    "Least and most noise, relative to the picture; what the prior was not trained at is left out."
    seed: int = 0
    "Of the noise, which is the same for every run."

    def __post_init__(self) -> None:
        check_at_least("views", self.views)
        check_at_least("levels", self.levels)
        check_seed(self.seed)
        if not 0 < self.sigma[0] < self.sigma[1] < math.inf:
            raise bad("sigma", expected="two rising numbers above 0", got=self.sigma)

    def ring(self, together: int = 1) -> Cameras:
        """The cameras, in groups of so many, each evenly around, for a prior of several views.

        Raises:
            ScoreliftError: if they do not come out even.
        """
        if self.views % together:
            raise bad("views", expected=f"a multiple of {together}, which this prior sees together", got=self.views)
        cameras = RingSampler(count=self.views, elevation_deg=self.elevation_deg).ring()
        return cameras[torch.arange(self.views).view(together, -1).T.flatten()]


@dataclass(frozen=True)
class Nats:
    """Of each picture: for the words of its prompt, and, given those, for its view."""

    words: Float[Tensor, " n"]
    view: Float[Tensor, " n"]


@torch.no_grad()
def gather(prior: Prior, prompt: str, pictures: Float[Tensor, "n 3 h w"], cameras: Cameras, settings: Evidence) -> Nats:
    """The evidence of pictures, one a camera, for a prompt and for their cameras.

    With y = x + sigma eps, sum over steps of ln sigma of (|x - D(y; nothing)|^2 - |x - D(y; prompt)|^2) / sigma^2.
    """
    prior.check_views(len(pictures))
    z = prior.encode(pictures.to(prior.device))
    terms = ViewPrompts(prior, prompt, choice="camera").terms(cameras.to(z.device))
    low, high = (min(max(s, prior.sigma_range[0]), prior.sigma_range[1]) for s in settings.sigma)
    step = math.log(high / low) / settings.levels
    generator = torch.Generator().manual_seed(settings.seed)
    words, view = z.new_zeros(2, len(z))
    for k in range(settings.levels):
        sigma = torch.full((len(z),), low * math.exp((k + 0.5) * step), device=z.device)
        level = prior.schedule.level(prior.schedule.time(sigma))
        noise = torch.randn(z.shape, generator=generator).to(z)
        noisy = [level.add_noise(z, noise), level.add_noise(z, -noise)]
        weight = step / (2 * level.sigma_ve.to(z) ** 2)
        nothing, plain, full = (
            weight * _error(prior, z, noisy, level, c) for c in (terms.uncond, terms.plain, terms.full)
        )
        words += nothing - plain
        view += plain - full
    return Nats(words.cpu(), view.cpu())


def _error(prior: Prior, z: Tensor, noisy: Sequence[Tensor], level: Level, condition: Condition) -> Float[Tensor, " n"]:
    """Squared error of each picture, summed over its pixels and over what is made of it."""
    missed = torch.stack([prior.predict_x0(z_t, level, condition) - z for z_t in noisy])
    return missed.square().sum((0, 2, 3, 4))


def rank(
    runs: Run | str | Path | Sequence[Run | str | Path],
    settings: Evidence | None = None,
    *,
    prior: str | None = None,
    device: str = "auto",
) -> list[dict[str, Any]]:
    """Finished runs, the best first, prompt by prompt; nats a view, with 95 % intervals over views.

    Args:
        runs: several, or their folders, or a single one.
        prior: name or path of who is asked; default each run's own.
        device: where; "auto" as `scorelift.generate` has it.

    Raises:
        ScoreliftError: for no run, one that is given twice, unfinished or not of a 3-D recipe, several priors of a
            prompt, or a prompt the prior cannot read.
    """
    settings, device = settings or Evidence(), pick_device(device)
    if isinstance(runs, Run | str | Path):
        runs = [runs]
    if not runs:
        raise bad("run", expected="folders of finished runs", got="none")
    opened = [run if isinstance(run, Run) else Run.open(run) for run in runs]
    check_different(opened)
    for run in opened:
        check_finished(run)
    if prior is None:
        _check_one_prior(opened)
    rows: list[dict[str, Any]] = []
    held: Prior | None = None
    loaded = ""
    for run in opened:
        name = prior or run.recipe.prior
        scene = final_scene(run).gridded()
        if not isinstance(scene, Body):
            raise bad("run", expected="a run of a 3-D recipe", got=f"{run.path} ({run.recipe.name})")
        if held is None or loaded != name:
            held, loaded = load_prior(name, device, run.recipe.model), name
        cameras = settings.ring(held.views)
        latent = held.bound is None
        pictures = look(scene, cameras, LATENT_PIXELS if latent else held.sizes[0], "shaded")
        parts = torch.arange(len(cameras)).split(held.views if latent else len(cameras))  # large models: as few as go
        nats = [gather(held, run.prompt, pictures[part], cameras[part], settings) for part in parts]
        words, view = torch.cat([n.words for n in nats]), torch.cat([n.view for n in nats])
        total = (words + view).tolist()
        mean, lower, upper = interval(total, [str(i) for i in range(len(total))])
        rows.append({
            "run": str(run.path), "prompt": run.prompt, "nats": mean, "interval": [lower, upper],
            "words": float(words.mean()), "view": float(view.mean()),
        })  # fmt: skip
    order = list(dict.fromkeys(row["prompt"] for row in rows))
    return sorted(rows, key=lambda row: (order.index(row["prompt"]), -row["nats"]))


def _check_one_prior(runs: Sequence[Run]) -> None:
    """Raise if runs of one prompt are of several priors, whose nats do not compare."""
    asked: dict[str, str] = {}
    for run in runs:
        if asked.setdefault(run.prompt, run.recipe.prior) != run.recipe.prior:
            both = f"{asked[run.prompt]} and {run.recipe.prior}"
            raise bad("run", expected=f"runs of {run.prompt!r} by one prior, for nats of two do not compare", got=both,
                      remedy="Say by --prior who is asked.")  # fmt: skip
