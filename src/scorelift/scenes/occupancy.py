"""A coarse map of where a field has density, so that samples elsewhere can be skipped."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

EMPTY = 0.01
"A cell is empty when a step through the densest of its neighbourhood stops less light than this."


def grown(mask: Bool[Tensor, "x y z"]) -> Bool[Tensor, "x y z"]:
    """The mask and the 26 neighbours of its cells, one axis after the other."""
    for axis, length in enumerate(mask.shape):
        wider = mask.clone()
        wider.narrow(axis, 1, length - 1).logical_or_(mask.narrow(axis, 0, length - 1))
        wider.narrow(axis, 0, length - 1).logical_or_(mask.narrow(axis, 1, length - 1))
        mask = wider
    return mask


@torch.no_grad()
def occupied_samples(
    occupied: Bool[Tensor, "n n n"], origin: Float[Tensor, "r 3"], direction: Float[Tensor, "r 3"],
    jitter: Float[Tensor, " r"], span: tuple[Float[Tensor, " r"], Float[Tensor, " r"]], delta: float,
) -> tuple[Int[Tensor, " s"], Float[Tensor, " s"]]:  # fmt: skip
    """Rays and depths of samples `delta` apart between the ends of a span, in the occupied voxels of [-1, 1]^3."""
    n, (near, far) = len(occupied), span
    ray = torch.nonzero(far > near)[:, 0]
    near, length = near[ray], (far - near)[ray]
    count = int(torch.ceil(length.max() / delta)) if len(ray) else 0
    t = (torch.arange(count, device=origin.device) + jitter[ray, None]) * delta
    inside = t < length[:, None]
    t = t + near[:, None]
    start, heading = (origin[ray] + 1) * ((n - 1) / 2) + 0.5, direction[ray] * ((n - 1) / 2)
    voxel = torch.zeros(t.shape, dtype=torch.int32, device=t.device)
    for axis in range(3):
        place = torch.addcmul(start[:, axis : axis + 1], t, heading[:, axis : axis + 1])
        voxel = voxel * n + place.to(torch.int32).clamp_(0, n - 1)
    row, column = torch.nonzero(inside & occupied.view(-1)[voxel], as_tuple=True)
    return ray[row], t[row, column]


class Occupancy(nn.Module):
    """Cells over [-extent, extent]^3. A density that may grow anywhere is looked at everywhere, now and then.

    Ref: Müller et al., "Instant neural graphics primitives" (2022), App. E.1.
    """

    occupied: Tensor

    def __init__(self, cells: int, extent: float) -> None:
        super().__init__()
        self.cells, self.extent = cells, extent
        self.register_buffer("occupied", torch.ones(cells, cells, cells, dtype=torch.bool))

    @torch.no_grad()
    def renew(self, density: Callable[[Tensor], Tensor], delta: float) -> None:
        """Look at the density (n 3) -> (n) at the cells' centres; `delta` is the distance between samples."""
        axis = (torch.arange(self.cells, device=self.occupied.device) + 0.5) * (2 / self.cells) - 1
        centres = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3) * self.extent
        alpha = 1 - torch.exp(-delta * density(centres))
        self.occupied.copy_(grown(alpha.view_as(self.occupied) > EMPTY))

    def at(self, xyz: Float[Tensor, "n 3"]) -> Bool[Tensor, " n"]:
        """Whether points lie in occupied cells."""
        cell = ((xyz / self.extent + 1) * (self.cells / 2)).long().clamp_(0, self.cells - 1)
        return self.occupied[cell[:, 0], cell[:, 1], cell[:, 2]]
