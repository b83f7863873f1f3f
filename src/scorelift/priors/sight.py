"""Telling a prior the camera itself: the numbers of a picture's camera beside the words of its prompt.

Words name a view ("front view seen from above"); a camera says exactly where it stands, how far it is zoomed and where
it looks. A prior that hears it need not guess, within the range of a phrase, what a render must look like from there.

Ref: cameras as a condition of a pictures' prior: Liu et al., "Zero-1-to-3" (2023); Shi et al., "MVDream" (2023).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FEATURES = 18


def camera_features(camera: Float[Tensor, "b 13"]) -> Float[Tensor, "b 18"]:
    """What a network is told of cameras (`Cameras.numbers`): where they stand, how large and where they see the origin.

    Harmonics of the azimuth and the elevation; ln of the size in the picture of what is of size 1 at the origin, and
    inverse distance (how strong perspective is); the origin's place in the picture. All of order 1.
    """
    pose = camera[:, :12].unflatten(1, (3, 4))
    position, fovy = pose[..., 3], torch.deg2rad(camera[:, 12])
    distance = position.norm(dim=1)
    azimuth = torch.atan2(position[:, 1], position[:, 0])
    elevation = torch.asin((position[:, 2] / distance).clamp(-1, 1))
    turns = azimuth[:, None] * torch.arange(1, 5, device=camera.device)
    tilts = elevation[:, None] * torch.arange(1, 3, device=camera.device)
    focal = 1 / torch.tan(fovy / 2)
    seen = torch.einsum("bji,bj->bi", pose[..., :3], -position)  # the origin as the camera sees it, -z forward
    place = focal[:, None] * seen[:, :2] / (-seen[:, 2:]).clamp_min(1e-3)
    over = elevation.cos()[:, None] * torch.stack([azimuth.cos(), azimuth.sin()], 1)
    size = torch.stack([2 * (focal / distance).log(), 5 * (1 / distance - 0.35)], 1)
    return torch.cat([turns.cos(), turns.sin(), tilts.cos(), tilts.sin(), over, size, 5 * place], 1)


class Sight(nn.Module):
    """Pooled features of a prompt and a camera to those of the prompt seen from there."""

    def __init__(self, dim: int, hidden: int = 384, layers: int = 2) -> None:
        super().__init__()
        self.camera = nn.Linear(FEATURES, dim)
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(layers))
        self.mix = nn.ModuleList(nn.Linear(2 * dim, hidden) for _ in range(layers))
        self.out = nn.ModuleList(nn.Linear(hidden, dim) for _ in range(layers))
        for out in self.out:
            nn.init.zeros_(out.weight)  # type: ignore[arg-type]

    def forward(self, pooled: Float[Tensor, "b dim"], camera: Float[Tensor, "b 13"]) -> Float[Tensor, "b dim"]:
        where = F.silu(self.camera(camera_features(camera).to(pooled.dtype)))
        for norm, mix, out in zip(self.norms, self.mix, self.out, strict=True):
            pooled = pooled + out(F.silu(mix(torch.cat([norm(pooled), where], 1))))
        return pooled
