"""Optimizers a stage may use."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..core.errors import bad, check_at_least
from ..core.schedules import Constant, Schedule, WarmupCosine, extremes


class Checked:
    """What all optimizers' settings are held to."""

    def __post_init__(self) -> None:
        """Raise for a rate, decay or epsilon below 0, or betas outside [0, 1)."""
        settings = vars(self)
        for value in extremes(settings["rate"]):
            if value < 0:
                raise bad("rate", expected="no learning rate below 0", got=value)
        for beta in settings["betas"]:
            if not 0 <= beta < 1:
                raise bad("betas", expected="two numbers in [0, 1)", got=settings["betas"])
        for name in ("eps", "weight_decay"):
            if not 0 <= settings.get(name, 0.0) < math.inf:
                raise bad(name, expected="a number of at least 0", got=settings[name])
        for name in ("exponent_override", "block_size", "recompute_every"):
            check_at_least(name, settings.get(name, 1))


@dataclass(frozen=True, kw_only=True)
class Adam(Checked):
    """Adam with a learning rate that follows the stage's progress."""

    rate: Schedule = Constant(0.05)
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-8

    def build(self, groups: list[dict]) -> torch.optim.Optimizer:
        """The optimizer of parameter groups."""
        return torch.optim.Adam(groups, betas=self.betas, eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True)
class Adamax(Checked):
    """Adam with the largest recent gradient as its scale (Kingma & Ba 2015, Alg. 2). Ref: SJC App. A3."""

    rate: Schedule = Constant(0.05)
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def build(self, groups: list[dict]) -> torch.optim.Optimizer:
        """The optimizer of parameter groups."""
        return torch.optim.Adamax(groups, betas=self.betas, eps=self.eps)


@dataclass(frozen=True, kw_only=True)
class AdamW(Checked):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), set for hash grids.

    The decay is torch's: DreamFlow names the optimizer and its rates only. `betas` and `eps` are those of Müller et al.
    (2022), Sec. 4: rows that are seldom seen have tiny second moments.
    """

    rate: Schedule = Constant(0.01)
    betas: tuple[float, float] = (0.9, 0.99)
    eps: float = 1e-15
    weight_decay: float = 0.01

    def build(self, groups: list[dict]) -> torch.optim.Optimizer:
        """The optimizer of parameter groups."""
        return torch.optim.AdamW(groups, betas=self.betas, eps=self.eps, weight_decay=self.weight_decay, fused=True)


@dataclass(frozen=True, kw_only=True)
class Shampoo(Checked):
    """Distributed Shampoo with DreamFusion's settings.

    Ref: DreamFusion App. A.2, "Optimizer"; Anil et al. (2020).
    """

    rate: Schedule = WarmupCosine(start=1e-9, peak=1e-4, end=1e-6, warmup=3000 / 15000)
    betas: tuple[float, float] = (0.9, 0.9)
    exponent_override: int = 2
    block_size: int = 128
    eps: float = 1e-6
    recompute_every: int = 20
    "Steps between computations of the inverse roots (the paper does not say)."

    def build(self, groups: list[dict]) -> torch.optim.Optimizer:
        """The optimizer of parameter groups."""
        from .shampoo import LayerWiseGrafting, SafeShampoo  # its library takes a second to load

        return SafeShampoo(
            groups,
            lr=1.0,
            betas=self.betas,
            inverse_exponent_override=self.exponent_override,
            block_size=self.block_size,
            matrix_eps=self.eps,
            graft_type=LayerWiseGrafting.SQRTN,
            preconditioning_compute_steps=self.recompute_every,
            start_preconditioning_step=self.recompute_every,
        )


Optimizer = Adam | Adamax | AdamW | Shampoo
