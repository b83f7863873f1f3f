"""Regularizers of volume scenes, each a scalar function of a render."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from ..core.errors import ScoreliftError
from .base import Render


def opacity_loss(render: Render) -> Float[Tensor, ""]:
    """Mean over rays of sqrt(opacity^2 + .01): discourages filling empty space. Ref: DreamFusion App. A.2."""
    return (render.opacity.square() + 0.01).sqrt().mean()


def emptiness_loss(render: Render) -> Float[Tensor, ""]:
    """Mean over rays of sum_i log(1 + beta w_i), beta = 10: punishes thin fog hardest.

    Ref: SJC Eq. 26 averages over the N samples of a ray; here samples in skipped (empty) space add 0 to the sum, and
    the factor 1/N belongs to the loss weight.
    """
    if render.fog is None:
        raise ScoreliftError("emptiness: this scene has no samples along rays, so the loss does not apply to it.")
    return render.fog.mean()


def orientation_loss(render: Render) -> Float[Tensor, ""]:
    """Mean over rays of sum_i stopgrad(w_i) max(0, n_i . v)^2. Ref: DreamFusion Eq. 10; Ref-NeRF Eq. 11."""
    if render.turned is None:
        raise ScoreliftError("orientation: normals were not rendered. Choose a shading and a scene that have them.")
    return render.turned.mean()


def transmittance_loss(render: Render, target: float = 0.88) -> Float[Tensor, ""]:
    """-min(target, mean transmittance): asks for so much empty picture and no more. Ref: Dream Fields Eq. 5."""
    return -(1 - render.opacity).mean().clamp_max(target)
