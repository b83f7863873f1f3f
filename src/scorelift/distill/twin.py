"""The twin: a denoiser of the renders' own distribution, learned while the scene is.

Ref: Wang et al., "ProlificDreamer" (2023), Alg. 1 and App. C; DreamFlow Sec. 3.1 (D_phi).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..core.errors import check_at_least, check_choice, check_positive
from ..priors.adapters import Adapters
from ..priors.base import Prior
from .base import Terms
from .noise import Times


@dataclass(frozen=True, kw_only=True)
class TwinConfig:
    """What stands for the denoiser of the renders."""

    kind: Literal["lora", "identity", "none"] = "lora"
    """lora: learned, low-rank adapters on the prior; identity: D(x + n) = x, as for geometry in DreamFlow and
    ProlificDreamer; none: D(y) = y, a flat distribution, which makes APFO an image-to-image sampler (SDEdit)."""
    rank: int = 8
    rate: float = 1e-3
    "Of AdamW. ProlificDreamer: 1e-4, for Stable Diffusion."
    steps: int = 1
    "Twin's steps for each of the scene's."
    noise: Times = Times()
    "Levels it learns at, nearly all, as ProlificDreamer's learns at all ..."
    along: bool = False
    "... unless it learns at the scene's own, as in DreamFlow's Algorithm 1."

    def __post_init__(self) -> None:
        check_choice("twin.kind", self.kind, ("lora", "identity", "none"))
        for name in ("rank", "rate"):
            check_positive(f"twin.{name}", getattr(self, name))
        check_at_least("twin.steps", self.steps)


class Twin:
    """Adapters, their optimizer, and what they learn from."""

    def __init__(self, prior: Prior, config: TwinConfig, seed: int) -> None:
        self.prior, self.config = prior, config
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.adapters = Adapters(prior.anatomy(), config.rank).to(prior.device)
        self.optimizer = torch.optim.AdamW(self.adapters.parameters(), lr=config.rate, weight_decay=0.0)

    def x0(self, z_t: Tensor, level: Level, terms: Terms) -> Tensor:
        """The twin's estimate of the clean z, of the prompt and the camera's pose, without guidance.

        It hears no view phrase: of the two denoisers the frozen one alone does (ProlificDreamer Eq. 9 and code).
        """
        with self.adapters.listening(terms.pose):
            return self.prior.predict_x0(z_t, level, terms.plain)

    def loss(self, z: Tensor, terms: Terms, level: Level, noise: Tensor) -> Tensor:
        """Denoising score matching on renders, in the weight of v-prediction."""
        error = (self.x0(level.add_noise(z, noise), level, terms) - z).square().mean((1, 2, 3))
        return ((1 + level.sigma_ve**-2).to(error) * error).mean()

    def state(self) -> dict[str, Any]:
        """Everything its next step depends on."""
        return {"adapters": self.adapters.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.adapters.load_state_dict(state["adapters"])
        self.optimizer.load_state_dict(state["optimizer"])


def renders_denoised(
    config: TwinConfig, twin: Twin | None, z: Tensor, z_t: Tensor, level: Level, terms: Terms
) -> Tensor:
    """D_phi of noisy renders."""
    if config.kind == "identity":
        return z
    if config.kind == "none":
        return z_t / level.alpha_t.to(z_t).view(-1, 1, 1, 1)
    assert twin is not None
    return twin.x0(z_t, level, terms)
