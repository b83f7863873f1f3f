"""Regularizers, each a scalar function of a render."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..core.errors import ScoreliftError, bad
from .base import Render
from .mesh_losses import laplacian_loss, normal_consistency_loss


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


def entropy_loss(render: Render) -> Float[Tensor, ""]:
    """Mean over rays of the entropy of their opacity, in bits: asks each to be open or closed.

    Ref: Latent-NeRF's code, "sparsity_loss".
    """
    seen = render.opacity.clamp(1e-5, 1 - 1e-5)
    return -(seen * seen.log2() + (1 - seen) * (1 - seen).log2()).mean()


def orientation_loss(render: Render) -> Float[Tensor, ""]:
    """Mean over rays of sum_i stopgrad(w_i) max(0, n_i . v)^2. Ref: DreamFusion Eq. 10; Ref-NeRF Eq. 11."""
    if render.turned is None:
        raise ScoreliftError("orientation: normals were not rendered. Choose a shading and a scene that have them.")
    return render.turned.mean()


def transmittance_loss(render: Render, target: float = 0.88) -> Float[Tensor, ""]:
    """Mean over pictures of -min(target, mean transmittance): asks each for so much emptiness and no more.

    Ref: Dream Fields Eq. 5, whose mean is of one pose.
    """
    return -(1 - render.opacity).mean((1, 2, 3)).clamp_max(target).mean()


def bending_loss(render: Render) -> Float[Tensor, ""]:
    """Mean over a mesh's edges of 1 - cos of the angle between the faces beside it."""
    return normal_consistency_loss(*_surface(render, "bending"))


def unevenness_loss(render: Render) -> Float[Tensor, ""]:
    """Mean over a mesh's points of how far each is from the middle of its neighbours, squared."""
    return laplacian_loss(*_surface(render, "unevenness"))


def _surface(render: Render, name: str) -> tuple[Tensor, Tensor]:
    if render.surface is None:
        raise ScoreliftError(f"{name}: this scene is no mesh, so the loss does not apply to it.")
    return render.surface


def centre_depth_loss(render: Render, far: float, box: float = 0.5, steepness: float = 4.0) -> Float[Tensor, ""]:
    """-log of how much nearer the middle of the picture is than its border: pulls a lost object to the centre.

    Depths are the expected ones with what is not hit at `far`. `box` is the middle's share of each side. The difference
    goes through a softplus, so that there is a finite pull also where the border is the nearer one; for an object well
    in the middle it is the paper's loss.

    Ref: SJC Eq. 27. There, and in their code, the difference has the opposite sign. With what is not hit far away, as
    in their renderer, it is negative and its logarithm NaN; the logarithm's gradient, 1/x, still points the right way
    (their issue 21). This form has a value as well.
    """
    if render.depth is None:
        raise ScoreliftError("centre_depth: this scene has no depth, so the loss does not apply to it.")
    depth = render.depth * render.opacity + far * (1 - render.opacity)
    height, width = depth.shape[-2:]
    if min(height, width) < 3:
        raise bad("centre_depth", expected="pictures of 3 x 3 or more, which have a middle and a border",
                  got=f"{height} x {width}")  # fmt: skip
    top, left = (max(round(side * (1 - box) / 2), 1) for side in (height, width))
    middle = depth[..., top : height - top, left : width - left]
    outside = depth[0, 0].numel() - middle[0, 0].numel()
    border = (depth.sum((1, 2, 3)) - middle.sum((1, 2, 3))) / outside
    pull = steepness * (border - middle.mean((1, 2, 3)))
    small = F.softplus(pull.clamp_min(-20)).log() + (pull + 20).clamp_max(0)  # log softplus x is x far below 0
    return (math.log(steepness) - small).mean()
