"""Volume rendering quadrature: densities along rays to weights, and weighted sums.

Two forms of the same operator. `weights_dense` takes rays of equal sample counts and reads like the formula: it is the
reference. `weights_packed` takes the samples of all rays in one row, ray after ray, so that empty space costs nothing.

Ref: DreamFusion Eq. 5; SJC Eq. 25: alpha_i = 1 - exp(-density_i delta_i), w_i = alpha_i prod_{j<i} (1 - alpha_j).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.precision import wide

SPENT = 1e-4
"Share of light at which a ray ends: what lies behind is not seen."
OPAQUE = 80.0
"Optical thickness through which float32 sees nothing."
BETA = 10.0
"How much harder the emptiness loss punishes thin fog than thick."


def weights_dense(density: Float[Tensor, "rays n"], delta: Float[Tensor, "rays n"]) -> Float[Tensor, "rays n"]:
    """Weights of samples along rays; they sum to the ray's opacity.

    >>> weights_dense(torch.tensor([[0.0, 1.0, 2.0]]), torch.ones(1, 3))
    tensor([[0.0000, 0.6321, 0.3181]])
    """
    thickness = density * delta
    before = torch.cumsum(thickness, -1) - thickness
    return torch.exp(-before) * -torch.expm1(-thickness)


def weights_packed(
    density: Float[Tensor, " n"], delta: Float[Tensor, " n"], ray: Int[Tensor, " n"], rays: int
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Weights and transmittances of packed samples; `ray` is sorted and tells which ray each belongs to."""
    thickness = density * delta
    depth = wide(thickness.clamp_max(OPAQUE))  # all rays in one sum: none may drown the others
    before = torch.cumsum(depth, 0) - depth
    count = torch.bincount(ray, minlength=rays)
    first = (torch.cumsum(count, 0) - count)[ray]
    transmittance = torch.exp(before[first.to(before.device)] - before).to(density)
    return transmittance * -torch.expm1(-thickness), transmittance


def sum_packed(values: Float[Tensor, "n c"], ray: Int[Tensor, " n"], rays: int) -> Float[Tensor, "rays c"]:
    """Sum packed values ray by ray."""
    return values.new_zeros(rays, values.shape[1]).index_add(0, ray, values)
