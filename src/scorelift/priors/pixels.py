"""Pixels and no model: for distillers that ask no prior, as `Similarity` does, and then of any words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.diffusion import Cosine, Level
from ..core.errors import ScoreliftError
from .base import Condition, Prior


class PixelsPrior(Prior):
    """The space of pictures, in [-1, 1]; it takes every prompt and size, and denoises nothing."""

    name = "pixels"
    schedule = Cosine()

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        return Condition({"none": torch.zeros(len(prompts), 1)})

    def predict_x0(self, z_t: Tensor, level: Level, condition: Condition) -> Tensor:
        raise ScoreliftError(
            "prior: pixels is no model and knows no pictures; it is for the distiller Similarity (dreamfields). "
            "Name another with --prior."
        )
