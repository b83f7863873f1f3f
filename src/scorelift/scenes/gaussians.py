"""Gaussians in space, each with a place, a shape, a colour and an opacity: drawn as splats, from front to back.

They are moved, turned, stretched and coloured by gradients; the transparent are taken away, and where the gradient
pulls most, one becomes two. All live in tables of `most` rows, of which some are alive: no parameter changes its shape.

Ref: Kerbl et al., "3D Gaussian splatting for real-time radiance field rendering" (2023); for text-to-3-D: Tang et al.,
"DreamGaussian" (2023), Sec. 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.cameras import Cameras
from ..core.errors import EmptySceneError, bad, check_at_least, check_not_negative, check_positive, check_range
from ..core.lights import Lights, Shading, check_lights
from ..kernels.splats import Splats, splat
from .base import Render, Scene
from .projection import project, quaternion_matrix


@dataclass(frozen=True, kw_only=True)
class GaussianConfig:
    """Gaussians in the unit ball. Rates are relative to the optimizer's."""

    count: int = 1000
    "How many there are at first ..."
    most: int = 4000
    "... and at most."
    radius: float = 0.5
    "Of the ball in which they begin, evenly spread."
    opacity: float = 0.1
    "Of each, at first."
    grey: float = 0.5
    "Their colour at first, linear."
    looks: int = 10
    "How often, evenly over the stage, it is seen which are transparent and which are pulled most."
    until: float = 0.8
    "Progress of the stage after which none parts any more."
    growth: float = 0.4
    "Share of the living that become two at each look: those whose places have the largest gradients."
    large: float = 0.05
    "Standard deviation above which the two are smaller than the one was."
    faint: float = 0.01
    "Opacity under which one is taken away."
    place_rate: float = 1.0
    shape_rate: float = 0.5
    "Of scales and rotations."
    opacity_rate: float = 5.0
    colour_rate: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("count", self.count, 4)
        check_at_least("most", self.most, self.count)
        check_at_least("looks", self.looks, 0)
        for name in ("radius", "large"):
            check_positive(name, getattr(self, name))
        for name in ("until", "growth"):
            check_range(name, getattr(self, name), 0, 1)
        for name in ("opacity", "grey", "faint"):
            check_range(name, getattr(self, name), 0.001, 0.98)
        for name in ("place_rate", "shape_rate", "opacity_rate", "colour_rate"):
            check_not_negative(name, getattr(self, name))


class Gaussians(Scene):
    """Places, logarithms of standard deviations, rotations (quaternions), raw opacities and colours."""

    alive: Bool[Tensor, " most"]
    pull: Float[Tensor, " most"]
    "Norms of the gradients on the places since the last look, summed."

    def __init__(self, config: GaussianConfig) -> None:
        super().__init__()
        self.config, self.blend = config, splat
        self._kept: tuple[tuple[int, torch.device], Tensor] | None = None
        n, generator = config.most, torch.Generator().manual_seed(0)
        toward = F.normalize(torch.randn(n, 3, generator=generator), dim=-1)
        place = config.radius * torch.rand(n, 1, generator=generator) ** (1 / 3) * toward
        gap = config.radius * (4.19 / config.count) ** (1 / 3)  # edge of the cube that each has to itself
        self.place = nn.Parameter(place)
        self.log_scale = nn.Parameter(torch.full((n, 3), gap).log())
        self.rotation = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(n, 1))
        self.raw_opacity = nn.Parameter(torch.full((n,), config.opacity).logit())
        self.raw_colour = nn.Parameter(torch.full((n, 3), config.grey).logit())
        self.register_buffer("alive", torch.arange(n) < config.count)
        self.register_buffer("pull", torch.zeros(n))

    def groups(self, rate: float) -> list[dict]:
        config = self.config
        return [
            {"params": [self.place], "lr": rate * config.place_rate},
            {"params": [self.log_scale, self.rotation], "lr": rate * config.shape_rate},
            {"params": [self.raw_opacity], "lr": rate * config.opacity_rate},
            {"params": [self.raw_colour], "lr": rate * config.colour_rate},
        ]

    def living(self) -> Int[Tensor, " n"]:
        """Rows of the tables that are alive."""
        return self.alive.nonzero()[:, 0]

    def roots(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n 3 3"]:
        """L of covariances L L^T: rotations, their columns stretched."""
        return quaternion_matrix(self.rotation[rows]) * self.log_scale[rows].exp()[:, None, :]

    def peaks(self, rows: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Densities at the centres of clouds that look like the splats.

        A splat of opacity a, seen from anywhere, is a cloud through whose middle a ray loses a of its light: its
        density along that ray sums to tau = -ln(1 - a), and its peak is tau / (sqrt(2 pi) s), s its size.
        """
        size = self.log_scale[rows].mean(-1).exp()
        return -torch.log1p(-self.raw_opacity[rows].sigmoid()) / (math.sqrt(2 * math.pi) * size)

    def density_at(self, xyz: Float[Tensor, "k 3"]) -> Float[Tensor, " k"]:
        """Density of those clouds at points, all of them at each."""
        rows = self.living()
        inverse, (i, j) = torch.linalg.inv(self.roots(rows)), torch.triu_indices(3, 3, device=xyz.device)
        precision, place = inverse.mT @ inverse, self.place[rows]
        middle = (precision @ place[..., None])[..., 0]
        # (x - p) P (x - p), written out, is one product of matrices
        points = torch.cat([xyz[:, i] * xyz[:, j], xyz, torch.ones_like(xyz[:, :1])], 1)
        twice = precision[:, i, j] * torch.where(i == j, 1, 2)
        clouds = torch.cat([twice, -2 * middle, (place * middle).sum(1, keepdim=True)], 1)
        return torch.exp(-0.5 * (points @ clouds.T).clamp_min(0)) @ self.peaks(rows)

    def render(
        self,
        cameras: Cameras,
        size: int,
        *,
        lights: Lights | None = None,
        shading: Shading = "albedo",
        background: Float[Tensor, "b 3 #h #w"] | None = None,
        jitter: Float[Tensor, "b h w"] | None = None,
    ) -> Render:
        """As any scene. Each Gaussian has one normal and one light, its centre's; nothing is random, so no jitter."""
        check_lights(lights, shading)
        rows = self.living()
        place, colour = self.place[rows], self.raw_colour[rows].sigmoid().expand(len(cameras), -1, -1)
        normal = None if shading == "albedo" else self._normals(rows).expand(len(cameras), -1, -1)
        if shading == "normal":
            assert normal is not None
            colour = (normal + 1) / 2
        elif normal is not None:
            assert lights is not None
            shade = lights.shade(place.expand_as(normal), normal)[..., None]
            colour = shade.expand(-1, -1, 3) if shading == "textureless" else shade * colour
        away = (place - cameras.position[:, None]).norm(dim=-1, keepdim=True)
        features = torch.cat([colour, away, *([] if normal is None else [normal])], -1)
        mean, conic, dim, depth = project(place, self.roots(rows), cameras, size)
        sums = self.blend(Splats(mean, conic, dim * self.raw_opacity[rows].sigmoid(), features, depth), size)
        rgb, opacity = sums[:, :3], sums[:, -1:]
        if background is not None:
            rgb = rgb + (1 - opacity) * background
        return Render(
            rgb=rgb,
            opacity=opacity,
            depth=sums[:, 3:4] / opacity.clamp_min(1e-6) * (opacity > 1e-3),
            normal=None if normal is None else sums[:, 4:7],
        )

    def normals(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """Unit vectors at the centres, against the gradient of the density that all Gaussians make together."""
        place, found = self.place[rows], []
        inverse = torch.linalg.inv(self.roots(rows))
        weight = -torch.log1p(-self.raw_opacity[rows].sigmoid()) * torch.linalg.det(inverse).abs() ** (1 / 3)
        precision = inverse.mT @ inverse
        middle = (precision @ place[..., None])[..., 0]
        for part in place.split(512):
            falling = (part @ precision.movedim(0, 1).flatten(1)).unflatten(1, (-1, 3)) - middle
            q = (falling * (part[:, None] - place)).sum(-1)
            found.append(((weight * torch.exp(-0.5 * q))[..., None] * falling).sum(1))
        return F.normalize(torch.cat(found), dim=-1, eps=1e-8)

    def _normals(self, rows: Int[Tensor, " n"]) -> Float[Tensor, "n 3"]:
        """The same; without gradients kept from one picture to the next."""
        if torch.is_grad_enabled():
            return self.normals(rows)
        version = sum(t._version for t in (*self.parameters(), self.alive)), self.place.device
        if self._kept is None or self._kept[0] != version:
            self._kept = version, self.normals(rows)
        return self._kept[1]

    @torch.no_grad()
    def heed(self) -> None:
        if self.place.grad is not None:
            self.pull += self.place.grad.norm(dim=-1)

    @torch.no_grad()
    def update(self, step: int, progress: float) -> None:
        """At each look: take away the faint and what has left the unit ball, part those that are pulled most.

        Raises:
            EmptySceneError: if none is left.
        """
        config, before = self.config, progress * (1 - 1 / max(step, 1))  # progress of the step before
        if step == 0 or int(progress * config.looks + 1e-6) == int(before * config.looks + 1e-6):
            return
        self.alive &= (self.raw_opacity.sigmoid() >= config.faint) & (self.place.norm(dim=-1) <= 1)
        living, free = self.living(), (~self.alive).nonzero()[:, 0]
        if not len(living):
            raise EmptySceneError("gaussians: all have become transparent. Try another --seed, a lower rate, or weaker "
                                  "opacity penalties.")  # fmt: skip
        count = min(len(free), int(config.growth * len(living))) if progress <= config.until else 0
        self._part(living[self.pull[living].topk(count).indices], free[:count], step)
        self.pull.zero_()

    def _part(self, ones: Int[Tensor, " k"], others: Int[Tensor, " k"], step: int) -> None:
        """Make two of each of some: both somewhere in the one, and together as opaque as it, but never faint.

        Ref: Kerbl et al. (2023), Sec. 5.2: large ones come out smaller by 1.6. Opacity: Kheradmand et al., "3D Gaussian
        splatting as Markov chain Monte Carlo" (2024), Eq. 9.
        """
        draw = torch.randn(2, len(ones), 3, generator=torch.Generator().manual_seed(step)).to(self.place)
        aside = torch.einsum("kij,skj->ski", self.roots(ones), draw)
        large = self.log_scale[ones].exp().amax(-1) > self.config.large
        self.log_scale[ones] -= large[:, None] * 0.47  # ln 1.6
        opacity = 1 - (1 - self.raw_opacity[ones].sigmoid()).sqrt()
        self.raw_opacity[ones] = opacity.clamp_min(self.config.faint).logit()
        place = self.place[ones]
        for rows, shift in zip((ones, others), aside, strict=True):
            for table in (self.log_scale, self.rotation, self.raw_opacity, self.raw_colour):
                table[rows] = table[ones]
            self.place[rows] = place + 0.5 * shift
        self.alive[others] = True

    @torch.no_grad()
    def take(self, other: Gaussians) -> None:
        """Start from others, as they are.

        Raises:
            ScoreliftError: if there are more of them than there may be.
        """
        rows, most = other.living(), self.config.most
        if len(rows) > most:
            raise bad("scene.most", expected=f"at least {len(rows)}, as many as there are to start from", got=most)
        for name, table in self.named_parameters():
            table[: len(rows)] = getattr(other, name)[rows]
        self.alive.copy_(torch.arange(most, device=self.alive.device) < len(rows))
