"""What every distiller takes and gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from jaxtyping import Float
from torch import Tensor

from ..core.diffusion import Level
from ..core.errors import bad
from ..priors.base import Condition, Prior
from ..priors.guidance import Guidance, PerpNeg

Weighting = Literal["sigma2", "alpha_sigma2", "uniform", "x0", "sjc"]


@dataclass(frozen=True)
class Terms:
    """The prompt as a distiller sees it: with the view, without it, and nothing; one row a picture."""

    full: Condition
    plain: Condition
    uncond: Condition
    opposed: tuple[tuple[Condition, Float[Tensor, " b"]], ...] = ()
    "Other views of the prompt, and how much each is opposed to a picture's own (0 to 1)."
    prompt: str = ""
    "In words, without the view."
    pose: Float[Tensor, "b 12"] | None = None
    "Of each picture's camera, for twins; None where cameras do not matter."

    def repeat(self, times: int) -> Terms:
        """The same for a batch stacked `times` times."""
        if times == 1:
            return self
        full, plain, uncond = (Condition.cat([c] * times) for c in (self.full, self.plain, self.uncond))
        opposed = tuple((Condition.cat([c] * times), amount.repeat(times)) for c, amount in self.opposed)
        pose = None if self.pose is None else self.pose.repeat(times, 1)
        return Terms(full, plain, uncond, opposed, self.prompt, pose)

    def guidance(self, cfg_scale: float, view_scale: float | None = None, perp_neg: float = 0.0) -> Guidance | PerpNeg:
        """Guidance on object and view together, or (with `view_scale`) apart, or away from the other views."""
        if perp_neg:
            if not self.opposed:
                raise bad("perp_neg", expected="0 where prompts name no views, which it would push away", got=perp_neg,
                          remedy="Say the view in words: prompting.choice nearest.")  # fmt: skip
            negatives = tuple((condition, -perp_neg * amount) for condition, amount in self.opposed)
            return PerpNeg(self.full, self.uncond, negatives, cfg_scale)
        if view_scale is None:
            return Guidance.cfg(self.full, self.uncond, cfg_scale)
        return Guidance.two_scales(self.full, self.plain, self.uncond, object_scale=cfg_scale, view_scale=view_scale)


@dataclass(frozen=True)
class Distilled:
    """A gradient on z, one a picture (not averaged), and the guided x0 it came from."""

    gradient: Float[Tensor, "b c h w"]
    x0: Float[Tensor, "b c h w"]


class Distiller(Protocol):
    """Turns (prior, z, prompt, noise level) into a gradient on z."""

    def __call__(self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor) -> Distilled:
        """Gradient on the clean z under `noise` at `level`; z carries no graph."""
        ...


def weight(level: Level, kind: Weighting) -> Float[Tensor, " b"]:
    """w(t) of the gradient w(t) (eps_hat - eps).

    "sigma2": sigma_t^2 (DreamFusion); "alpha_sigma2": alpha_t sigma_t^2 (the public code of Latent-NeRF and, in part,
    of Fantasia3D); "uniform": 1; "x0": sigma_ve, which makes the gradient z - x0; "sjc":
    1 / sigma_ve, which makes it (z - x0) / sigma_ve^2.
    """
    if kind == "sigma2":
        return level.sigma_t**2
    if kind == "alpha_sigma2":
        return level.alpha_t * level.sigma_t**2
    if kind == "uniform":
        return level.sigma_t * 0 + 1
    if kind == "x0":
        return level.sigma_ve
    if kind == "sjc":
        return 1 / level.sigma_ve
    raise bad("weighting", expected=", ".join(get_args(Weighting)), got=kind)
