"""What Gaussians are made of when they become a volume: density and colour on a grid of voxels.

Ref: DreamGaussian (Tang et al. 2023), Sec. 3.2, asks a field for its surface in the same way, block by block, and sums
opacities where we sum what stops light, so that the volume looks as the Gaussians do.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from scipy import ndimage
from torch import Tensor

from .gaussians import Gaussians
from .volume import Volume
from .voxels import VoxelConfig, VoxelField

THIN = 1e-3
"Density under which a voxel takes the colour of the nearest that has more."


@torch.no_grad()
def volume_of(gaussians: Gaussians, resolution: int = 112) -> Volume:
    """Voxels over [-1, 1]^3 that look like the Gaussians; on the CPU."""
    density, colour = densities(gaussians, resolution)
    empty = (density < THIN).numpy()
    if not empty.all():
        nearest = torch.from_numpy(ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True))
        colour = colour[tuple(nearest.long())]
    config = VoxelConfig(resolution=resolution, shape="box", step=0.5, prune_from=0.0)
    field = VoxelField(config)
    field.density.copy_(field.raw_of(density)[..., None])
    field.albedo.copy_(colour.clamp(0.004, 0.996).logit())
    field.update(0, 1.0)
    return Volume(field)


@torch.no_grad()
def densities(gaussians: Gaussians, resolution: int) -> tuple[Float[Tensor, "x y z"], Float[Tensor, "x y z 3"]]:
    """Density and mean colour at the voxels of a grid over [-1, 1]^3; no colour (0) where there is no density."""
    from ..kernels.deposit_cpu import REACH, deposit  # numba takes its time

    rows = gaussians.living()
    root, colour = gaussians.roots(rows).cpu(), gaussians.raw_colour[rows].sigmoid().cpu()
    peak = gaussians.peaks(rows).cpu()
    sums = np.zeros((resolution, resolution, resolution, 4), np.float32)
    given = gaussians.place[rows].cpu(), torch.linalg.inv(root), REACH * root.norm(dim=-1), peak, colour
    deposit(*(t.contiguous().numpy() for t in given), sums)
    total, coloured = torch.from_numpy(sums).split([1, 3], -1)
    return total[..., 0], coloured / total.clamp_min(1e-12)
