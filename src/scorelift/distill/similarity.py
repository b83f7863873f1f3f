"""Dream Fields' objective: the likeness of render and caption in a joint embedding of pictures and texts.

No diffusion: the prior only encodes and decodes. What DreamFusion's Table 1 compares with.

Ref: Jain et al., "Zero-shot text-guided object generation with Dream Fields" (2022), Eq. 4. Its transmittance loss is
`Penalties.transmittance`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.diffusion import Level
from ..priors.base import Prior
from .base import Distilled, Terms
from .scorers import load_scorer


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Ascends the inner product of the unit vectors of render and caption."""

    scorer: str = "toybox"
    "The project's retriever, or a CLIP model's hub id or folder."
    scale: float = 1000.0
    "Gradient per unit of similarity, for a z of one pixel in [-1, 1]."

    def __call__(self, prior: Prior, z: Tensor, terms: Terms, level: Level, noise: Tensor) -> Distilled:
        scorer = load_scorer(self.scorer, str(z.device))
        with torch.enable_grad():
            free = z.detach().requires_grad_()
            pictures = scorer.embed_pictures(prior.decode(free))
            likeness = (pictures * scorer.embed_texts([terms.prompt])).sum()
            (ascent,) = torch.autograd.grad(likeness, free)
        return Distilled(-self.scale * ascent, z)
