"""Noise levels, and the ways a model may state its prediction: epsilon, v, x0, flow.

`z_t = alpha_t x0 + sigma_t eps`. Only the ratio `sigma_ve = sigma_t / alpha_t` matters to a denoiser: `z_t / alpha_t`
is the picture under noise of standard deviation `sigma_ve`.

Ref: Karras et al. (2022), Sec. 2; Salimans & Ho (2022), App. D, for v; Lipman et al. (2023) for flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import bad
from .precision import wide


def _like(value: Float[Tensor, " b"], x: Float[Tensor, "b ..."]) -> Tensor:
    # A few numbers: a card need not be waited for until they are there.
    return value.to(x, non_blocking=x.is_cuda).view(-1, *[1] * (x.dim() - 1))


@dataclass(frozen=True)
class Level:
    """A noise level for each picture of a batch."""

    alpha_t: Float[Tensor, " b"]
    sigma_t: Float[Tensor, " b"]
    decay: Float[Tensor, " b"] | None = None
    "Share of sigma_ve that the next level takes away, where levels follow each other."

    @staticmethod
    def vp(sigma_ve: Float[Tensor, " b"]) -> Level:
        """The variance-preserving level (alpha^2 + sigma^2 = 1) of a noise-to-signal ratio."""
        alpha = (1 + sigma_ve**2).rsqrt()
        return Level(alpha, sigma_ve * alpha)

    @property
    def sigma_ve(self) -> Float[Tensor, " b"]:
        """Noise in units of the picture."""
        return self.sigma_t / self.alpha_t

    def __len__(self) -> int:
        return self.alpha_t.shape[0]

    def __getitem__(self, index: slice | Tensor) -> Level:
        return Level(self.alpha_t[index], self.sigma_t[index], None if self.decay is None else self.decay[index])

    def repeat(self, times: int) -> Level:
        """The same levels for a batch stacked `times` times."""
        decay = None if self.decay is None else self.decay.repeat(times)
        return Level(self.alpha_t.repeat(times), self.sigma_t.repeat(times), decay)

    def add_noise(self, x0: Float[Tensor, "b ..."], eps: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """z_t = alpha_t x0 + sigma_t eps."""
        return _like(self.alpha_t, x0) * x0 + _like(self.sigma_t, x0) * eps

    def eps_from_x0(self, z_t: Float[Tensor, "b ..."], x0: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """The noise that, with x0, makes z_t."""
        return (z_t - _like(self.alpha_t, z_t) * x0) / _like(self.sigma_t, z_t)

    def x0_from_eps(self, z_t: Float[Tensor, "b ..."], eps: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """The picture that, with eps, makes z_t."""
        return (z_t - _like(self.sigma_t, z_t) * eps) / _like(self.alpha_t, z_t)

    def v_from_x0(self, z_t: Float[Tensor, "b ..."], x0: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """v = alpha_t eps - sigma_t x0."""
        return _like(self.alpha_t, z_t) * self.eps_from_x0(z_t, x0) - _like(self.sigma_t, z_t) * x0

    def x0_from_v(self, z_t: Float[Tensor, "b ..."], v: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Inverse of `v_from_x0`; also for levels that do not preserve variance."""
        a, s = _like(self.alpha_t, z_t), _like(self.sigma_t, z_t)
        return (a * z_t - s * v) / (a * a + s * s)

    def flow_from_x0(self, z_t: Float[Tensor, "b ..."], x0: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Velocity eps - x0 of the straight path."""
        return self.eps_from_x0(z_t, x0) - x0

    def x0_from_flow(self, z_t: Float[Tensor, "b ..."], flow: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Inverse of `flow_from_x0`."""
        a, s = _like(self.alpha_t, z_t), _like(self.sigma_t, z_t)
        return (z_t - s * flow) / (a + s)


class NoiseSchedule(Protocol):
    """Names noise levels by a time t in [0, 1], 1 the noisiest."""

    def level(self, t: Float[Tensor, " b"]) -> Level:
        """Noise levels of times."""
        ...

    def time(self, sigma_ve: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        """The times at which the noise is `sigma_ve`: the inverse of `level`."""
        ...


@dataclass(frozen=True)
class Cosine:
    """alpha_t = cos(pi t / 2), sigma_t = sin(pi t / 2): sigma_ve runs from 0.03 at t = .02 to 32 at t = .98.

    Ref: Nichol & Dhariwal (2021), without offset, as Imagen's base model (Saharia et al. 2022).
    """

    def level(self, t: Float[Tensor, " b"]) -> Level:
        angle = t * (math.pi / 2)
        return Level(angle.cos(), angle.sin())

    def time(self, sigma_ve: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        return torch.atan(sigma_ve) * (2 / math.pi)


@dataclass(frozen=True)
class Flow:
    """alpha = 1 - s, sigma = s: the straight paths of flow matching, s = shift t / (1 + (shift - 1) t).

    Ref: Esser et al. (2024), Eq. 23: larger pictures want more noise, that is a shift above 1.
    """

    shift: float = 1.0

    def level(self, t: Float[Tensor, " b"]) -> Level:
        s = self.shift * t / (1 + (self.shift - 1) * t)
        return Level(1 - s, s)

    def time(self, sigma_ve: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        s = sigma_ve / (1 + sigma_ve)
        return s / (self.shift - (self.shift - 1) * s)


@dataclass(frozen=True)
class Table:
    """Levels of a model trained at discrete steps; t is interpolated linearly between them."""

    alpha_bar: tuple[float, ...]
    "alpha_t^2 of step 0, 1, ...; decreasing."

    def __post_init__(self) -> None:
        if len(self.alpha_bar) < 2 or any(a <= b for a, b in pairwise(self.alpha_bar)) or self.alpha_bar[-1] <= 0:
            raise bad("alpha_bar", expected="at least two decreasing values in (0, 1]", got=self.alpha_bar[:4])

    @cached_property
    def _log(self) -> Tensor:
        return torch.tensor(self.alpha_bar, dtype=torch.float64).log()

    def level(self, t: Float[Tensor, " b"]) -> Level:
        place = wide(t).clamp(0, 1) * (len(self.alpha_bar) - 1)
        table = self._log.to(place.device)
        low = place.floor().long().clamp_max(len(table) - 2)
        log = torch.lerp(table[low], table[low + 1], place - low)
        return Level((log / 2).exp().to(t), (-log.expm1()).sqrt().to(t))

    def time(self, sigma_ve: Float[Tensor, " b"]) -> Float[Tensor, " b"]:
        log = -torch.log1p(wide(sigma_ve) ** 2)
        table = self._log.to(log.device)
        high = torch.searchsorted(-table, -log).clamp(1, len(table) - 1)
        share = (table[high - 1] - log) / (table[high - 1] - table[high])
        return ((high - 1 + share) / (len(table) - 1)).clamp(0, 1).to(sigma_ve)
