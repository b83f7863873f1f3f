"""Training of the refiner: little noise, crops of large pictures, the embedded prior's text encoder as it is."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..priors.refiner import Refiner, RefinerConfig
from ..priors.toybox import ToyboxPrior, load_toybox
from .crops import CROP
from .data import Pictures
from .muon import Muon, split_parameters
from .training import Plan, Stage, StageName, Training, weighted_error


@dataclass(frozen=True, kw_only=True)
class RefinerPlan(Plan):
    """How long and how the refiner is trained."""

    refine_pictures: int = 200_000
    "Crops it sees."
    refine_batch: int = 8
    refine_rate: float = 0.02
    "Peak learning rate of the hidden matrices (Muon)."
    ema_pictures: float = 3_000
    "Half-life of the averaged weights."

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The only one."""
        return (Stage("refine", CROP, self.refine_pictures, self.refine_batch, self.refine_rate),)


def refiner_like(prior: ToyboxPrior, config: RefinerConfig | None = None) -> Refiner:
    """A new refiner that reads prompts as an embedded prior does."""
    known = prior.net.config
    if config is None:
        default = RefinerConfig(vocabulary=known.vocabulary, text_layers=known.text_layers)
        config = replace(default, trunk=replace(default.trunk, text_dim=known.base.text_dim, head=known.base.head))
    refiner = Refiner(config)
    refiner.text.load_state_dict(prior.net.base.text.state_dict())
    return refiner


def refine_loss(net: Refiner, x0: Float[Tensor, "b 3 h w"], ids: Tensor, sigma_ve: Tensor, noise: Tensor) -> Tensor:
    """Of the refiner, on pictures in [-1, 1]."""
    y = x0 + sigma_ve[:, None, None, None] * noise
    with torch.no_grad():
        text = net.read(ids)
    return weighted_error(net(y, sigma_ve, text), x0, sigma_ve, net.config.trunk.sigma_data)


class RefinerTrainer(Training):
    """Of the refiner. `prior` gives words and text encoder; default: the embedded one."""

    config: RefinerPlan
    net: Refiner
    average: Refiner

    def __init__(self, config: RefinerPlan, pictures: Pictures, out: Path, *, device: str = "cpu",
                 prior: ToyboxPrior | None = None, network: RefinerConfig | None = None) -> None:  # fmt: skip
        pictures.check_size(CROP)
        prior = prior or load_toybox()
        torch.manual_seed(config.seed)
        super().__init__(config, refiner_like(prior, network), prior.tokenizer, pictures, out, device=device)

    def make_optimizer(self, stage: StageName) -> Muon:
        trunk = self.net.trunk
        return Muon(split_parameters(trunk, edge=trunk.edge, muon_rate=0.0, adam_rate=0.0))

    def loss(self, stage: Stage, rng: random.Random, generator: torch.Generator) -> Tensor:
        batch = self.pictures.draw(stage.batch, rng)
        ids = self.tokens(batch.captions, rng)
        low, high = map(math.log, self.net.config.sigma_range)
        sigma_ve = (low + (high - low) * torch.rand(stage.batch, generator=generator)).exp().to(self.device)
        noise = torch.randn(batch.pictures.shape, generator=generator).to(self.device)
        return refine_loss(self.net, batch.pictures.to(self.device) * 2 - 1, ids, sigma_ve, noise)
