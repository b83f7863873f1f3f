"""Guidance: predictions under several conditions, combined linearly in one batched forward pass.

One convention: `pred = uncond + cfg_scale * (cond - uncond)`. DreamFusion's omega is cfg_scale - 1.

Ref: Ho & Salimans (2022); composition of conditions as in Liu et al. (2022), "Compositional visual generation".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.diffusion import Level
from .base import Condition, Prior


def rescaled(
    x0: Float[Tensor, "b c h w"], cond: Float[Tensor, "b c h w"], share: float, views: int = 1
) -> Float[Tensor, "b c h w"]:
    """Guided x0, `share` of the way to the contrast it would have without guidance.

    Contrast is the standard deviation over all numbers of a group of `views` pictures: strong guidance raises it, which
    is seen as glaring colours.

    Ref: Lin et al., "Common diffusion noise schedules and sample steps are flawed" (2023), Sec. 3.4, there of the
    network's output; of x0, and over a group, as in MVDream (2023).
    """
    if share == 0:
        return x0
    guided, plain = (t.unflatten(0, (-1, views)).std((1, 2, 3, 4)) for t in (x0, cond))
    factor = (plain / guided.clamp_min(1e-8)).repeat_interleave(views).view(-1, 1, 1, 1)
    return x0 * (1 - share + share * factor)


@dataclass(frozen=True)
class Guidance:
    """Conditions (each a row a picture) and their weights, which sum to 1."""

    terms: tuple[tuple[Condition, float], ...]

    @staticmethod
    def cfg(cond: Condition, uncond: Condition, cfg_scale: float) -> Guidance:
        """Classifier-free guidance; without the second pass at scale 1."""
        if cfg_scale == 1:
            return Guidance(((cond, 1.0),))
        return Guidance(((cond, cfg_scale), (uncond, 1 - cfg_scale)))

    @staticmethod
    def two_scales(
        full: Condition, plain: Condition, uncond: Condition, *, object_scale: float, view_scale: float
    ) -> Guidance:
        """Guidance on the object apart from guidance on the view.

        uncond + object_scale (plain - uncond) + view_scale (full - plain): equal scales are plain guidance on `full`.
        """
        if object_scale == view_scale:
            return Guidance.cfg(full, uncond, view_scale)
        return Guidance(((full, view_scale), (plain, object_scale - view_scale), (uncond, 1 - object_scale)))

    def x0(
        self, prior: Prior, z_t: Float[Tensor, "b c h w"], level: Level, rescale: float = 0.0
    ) -> Float[Tensor, "b c h w"]:
        """The guided estimate of the clean z, `rescaled` toward the first term's."""
        prior.check_views(len(z_t))
        n = len(self.terms)
        conditions = Condition.cat([condition for condition, _ in self.terms])
        predictions = prior.predict_x0(z_t.repeat(n, 1, 1, 1), level.repeat(n), conditions)
        weights = torch.tensor([weight for _, weight in self.terms], dtype=z_t.dtype, device=z_t.device)
        x0 = torch.einsum("n,nbchw->bchw", weights, predictions.unflatten(0, (n, len(z_t))))
        return rescaled(x0, predictions[: len(z_t)], rescale, prior.views)


@dataclass(frozen=True)
class PerpNeg:
    """Guidance away from negative prompts, only across the direction of the positive one.

    pred = uncond + cfg_scale * (main + sum_i weight_i * perpendicular(negative_i, main)), where `main` and `negative_i`
    are differences to the unconditional prediction and the weights, one a picture, are at most 0.

    Ref: Armandpour et al., "Re-imagine the negative prompt algorithm" (2023), Eq. 6 to 8.
    """

    cond: Condition
    uncond: Condition
    negatives: tuple[tuple[Condition, Float[Tensor, " b"]], ...]
    cfg_scale: float

    def x0(
        self, prior: Prior, z_t: Float[Tensor, "b c h w"], level: Level, rescale: float = 0.0
    ) -> Float[Tensor, "b c h w"]:
        """The guided estimate of the clean z, `rescaled` toward the positive prompt's."""
        prior.check_views(len(z_t))
        conditions = [self.cond, self.uncond, *(condition for condition, _ in self.negatives)]
        n = len(conditions)
        predictions = prior.predict_x0(z_t.repeat(n, 1, 1, 1), level.repeat(n), Condition.cat(conditions))
        cond, uncond, *others = predictions.unflatten(0, (n, len(z_t)))
        main = cond - uncond
        length2 = main.square().sum((1, 2, 3), keepdim=True).clamp_min(1e-12)
        total = main
        for (_, weight), other in zip(self.negatives, others, strict=True):
            apart = other - uncond
            apart = apart - (apart * main).sum((1, 2, 3), keepdim=True) / length2 * main
            total = total + weight.to(z_t).view(-1, 1, 1, 1) * apart
        return rescaled(uncond + self.cfg_scale * total, cond, rescale, prior.views)
