"""A coarse map of where a field has density, so that samples elsewhere can be skipped."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
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
