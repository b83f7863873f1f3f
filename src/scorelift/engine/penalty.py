"""The regularizers of a step, weighed and added."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..recipes.base import Penalties
from ..scenes import Scene
from ..scenes.base import Render
from ..scenes.losses import (
    bending_loss,
    centre_depth_loss,
    emptiness_loss,
    entropy_loss,
    opacity_loss,
    orientation_loss,
    transmittance_loss,
    unevenness_loss,
)


def penalty_of(weights: Penalties, scene: Scene, render: Render, far: float, progress: float) -> Tensor:
    """What a step's renders pay beside the distiller's gradient; those of weight 0 are not computed.

    Args:
        far: a distance beyond all that the step's cameras see, for the depth of empty rays.
        progress: of the stage, 0 to 1.
    """
    losses: dict[str, Callable[[], Tensor]] = {
        "opacity": lambda: opacity_loss(render),
        "emptiness": lambda: emptiness_loss(render),
        "entropy": lambda: entropy_loss(render),
        "orientation": lambda: orientation_loss(render),
        "roughness": scene.roughness,
        "bending": lambda: bending_loss(render),
        "unevenness": lambda: unevenness_loss(render),
        "centre_depth": lambda: centre_depth_loss(render, far),
        "transmittance": lambda: transmittance_loss(render, weights.transmittance_target.at(progress)),
    }
    if render.normal is None:  # nothing that faces anywhere
        del losses["orientation"]
    total = torch.zeros((), device=render.rgb.device)
    for name, loss in losses.items():
        if (weight := getattr(weights, name).at(progress)) > 0:
            total = total + weight * loss()
    return total
