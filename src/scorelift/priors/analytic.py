"""Exact priors, with which every distiller has a known answer: a Gaussian, and the denoiser of given pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.diffusion import Cosine, Level
from ..core.errors import bad, check_positive
from .base import Condition, Prior


class GaussianPrior(Prior):
    """N(mean, std^2 I): every prompt is encoded as the same condition, except "" which may have another mean.

    The optimal denoiser at noise s is (std^2 y + s^2 mean) / (std^2 + s^2).
    """

    name = "gaussian"
    schedule = Cosine()
    sigma_range = (1e-4, 1e4)

    def __init__(self, mean: Float[Tensor, "c h w"], std: float, *, unconditional: Tensor | None = None) -> None:
        check_positive("std", std)
        self.means = torch.stack([mean if unconditional is None else unconditional, mean])
        self.std = std
        self.channels, self.sizes = mean.shape[0], (mean.shape[-1],)

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        return Condition({"mean": self.means[[int(bool(prompt)) for prompt in prompts]]})

    def predict_x0(self, z_t: Tensor, level: Level, condition: Condition) -> Tensor:
        s2 = (level.sigma_ve**2).to(z_t).view(-1, 1, 1, 1)
        y = z_t / level.alpha_t.to(z_t).view(-1, 1, 1, 1)
        t2 = self.std**2
        return (t2 * y + s2 * condition.tensors["mean"].to(z_t)) / (t2 + s2)


class EmpiricalPrior(Prior):
    """The distribution of given pictures, grouped by the prompt (or camera) they belong to.

    The optimal denoiser is the mean of the pictures weighted by N(y; picture, s^2). The empty prompt means all of them.

    Ref: Karras et al. (2022), App. B.3; SJC Eq. 5.
    """

    name = "empirical"
    schedule = Cosine()
    sigma_range = (1e-4, 1e4)

    def __init__(self, pictures: Mapping[str, Float[Tensor, "n c h w"]]) -> None:
        if not pictures or any(len(group) == 0 for group in pictures.values()):
            raise bad("pictures", expected="at least one picture for each prompt", got="none")
        self.groups = list(pictures)
        self.pictures = torch.cat(list(pictures.values()))
        owner = [i for i, group in enumerate(pictures.values()) for _ in range(len(group))]
        self.owner = torch.tensor(owner)
        self.channels, self.sizes = self.pictures.shape[1], (self.pictures.shape[-1],)

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        unknown = [prompt for prompt in prompts if prompt and prompt not in self.groups]
        if unknown:
            raise bad("prompt", expected=f"one of {self.groups}", got=unknown[0])
        return Condition({"group": torch.tensor([self.groups.index(p) if p else -1 for p in prompts])})

    def predict_x0(self, z_t: Tensor, level: Level, condition: Condition) -> Tensor:
        y = (z_t / level.alpha_t.to(z_t).view(-1, 1, 1, 1)).flatten(1)
        data = self.pictures.to(z_t).flatten(1)
        gap2 = torch.cdist(y, data, compute_mode="donot_use_mm_for_euclid_dist") ** 2
        logits = -gap2 / (2 * (level.sigma_ve.to(z_t) ** 2))[:, None]
        group = condition.tensors["group"].to(z_t.device)[:, None]
        logits = logits.masked_fill((group >= 0) & (group != self.owner.to(z_t.device)), -torch.inf)
        return (logits.softmax(-1) @ data).view_as(z_t)
