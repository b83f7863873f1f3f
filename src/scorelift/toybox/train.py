"""Training of the embedded prior: text encoder, U-Net at 32 x 32, detail of 64 x 64."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..priors.pyramid import Pyramid, UNetConfig, double, halve
from ..priors.text import SKETCH_SIZE, Tokenizer
from ..priors.toybox import ToyboxPrior
from ..priors.unet import TrunkConfig
from .data import Pictures
from .grammar import say
from .muon import Muon, split_parameters
from .spec import draw
from .training import Plan, Stage, StageName, Training, weighted_error
from .views import draw_view

PIECES = 512


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Plan):
    """How long and how the prior is trained. Counts are in pictures."""

    text_pictures: int = 300_000
    "Seen by the text encoder alone, which learns to sketch them at 16 x 16."
    base_pictures: int = 2_000_000
    "Seen by U-Net and text encoder at 32 x 32."
    detail_pictures: int = 400_000
    "Seen by the detail network at 64 x 64."
    text_batch: int = 256
    base_batch: int = 128
    detail_batch: int = 64
    text_rate: float = 0.02
    "Peak learning rate of the hidden matrices (Muon)."
    base_rate: float = 0.005
    detail_rate: float = 0.005
    base_noise_mean: float = 0.5
    "ln sigma_ve ~ N(base_noise_mean, noise_std) at 32 x 32: where view and shape are decided."
    detail_noise_mean: float = -0.7
    "The same at 64 x 64: where detail is."
    noise_std: float = 1.4

    @property
    def stages(self) -> tuple[Stage, ...]:
        """In their order."""
        return (
            Stage("text", SKETCH_SIZE, self.text_pictures, self.text_batch, self.text_rate),
            Stage("base", 32, self.base_pictures, self.base_batch, self.base_rate),
            Stage("detail", 64, self.detail_pictures, self.detail_batch, self.detail_rate),
        )


@cache
def learn_tokenizer(captions: int = 20_000) -> Tokenizer:
    """Sub-word pieces of the closed world's captions; always the same ones."""
    rng = random.Random(0)
    texts = (
        say(draw(rng), draw_view(rng.uniform(-10, 90), rng.uniform(0, 360), rng), rng, zoomed=rng.random() < 0.15)
        for _ in range(captions)
    )
    return Tokenizer.learn(texts, PIECES)


def todays_network(vocabulary: int) -> UNetConfig:
    """The sizes that a training from nothing takes."""
    base = TrunkConfig(
        widths=(32, 64, 128, 192),
        encoder_blocks=(1, 1, 2, 2),
        decoder_blocks=(2, 2, 2, 2),
        self_attention=(False, False, False, True),
        cross_attention=(False, False, True, True),
    )
    return UNetConfig(vocabulary=vocabulary, block=1, base=base)


def sketch_loss(net: Pyramid, cutouts: Float[Tensor, "b 4 16 16"], ids: Tensor) -> Tensor:
    """Of text encoder and sketch: mean squared error to the pictures without background."""
    return (net.base.sketch(net.read(ids).pooled) - cutouts).square().mean()


def base_loss(net: Pyramid, x0: Tensor, ids: Tensor, sigma_ve: Tensor, noise: Tensor) -> Tensor:
    """Of the U-Net, on pictures (b, 3, 32, 32) in [-1, 1]."""
    y = x0 + sigma_ve[:, None, None, None] * noise
    return weighted_error(net.base(y, sigma_ve, net.read(ids)), x0, sigma_ve, net.config.base.sigma_data)


def detail_loss(net: Pyramid, fixed: Pyramid, x0: Tensor, ids: Tensor, sigma_ve: Tensor, noise: Tensor) -> Tensor:
    """Of the detail network, on pictures (b, 3, 64, 64) in [-1, 1], given the fixed U-Net's answer to them halved."""
    y = x0 + sigma_ve[:, None, None, None] * noise
    with torch.no_grad():
        text = fixed.read(ids)
        coarse = fixed.base(halve(y), sigma_ve / 2, text)
    detail = net.add_detail(y, coarse, sigma_ve, text)
    return weighted_error(detail, x0 - double(halve(x0)), sigma_ve, net.config.detail.sigma_data)


class Trainer(Training):
    """Of the embedded prior, from nothing or from the weights of `start`."""

    config: TrainConfig
    net: Pyramid
    average: Pyramid

    def __init__(self, config: TrainConfig, pictures: Pictures, out: Path, *, device: str = "cpu",
                 network: UNetConfig | None = None, start: ToyboxPrior | None = None,
                 fresh_unet: bool = False) -> None:  # fmt: skip
        tokenizer = start.tokenizer if start else learn_tokenizer()
        torch.manual_seed(config.seed)
        if start and not fresh_unet:
            network = start.net.config
        net = Pyramid(network or todays_network(len(tokenizer)))
        if start:
            taken = start.net.state_dict()
            if fresh_unet:
                taken = {name: value for name, value in taken.items() if not name.startswith("base.trunk.")}
            net.load_state_dict({**net.state_dict(), **taken})
        super().__init__(config, net, tokenizer, pictures, out, device=device)

    def make_optimizer(self, stage: StageName) -> Muon:
        base, detail = self.net.base, self.net.detail
        reading: list[nn.Module] = [base.text, base.sketch]
        words: list[object] = [base.text.token, base.text.place, base.sketch.out]
        choices: dict[StageName, tuple[list[Any], list[object]]] = {
            "text": (reading, words),
            "base": ([*reading, base.trunk], [*words, *base.trunk.edge]),
            "detail": ([detail], [*detail.edge]),
        }
        parts, edge = choices[stage]
        return Muon(split_parameters(nn.ModuleList(parts), edge=edge, muon_rate=0.0, adam_rate=0.0))

    def loss(self, stage: Stage, rng: random.Random, generator: torch.Generator) -> Tensor:
        config = self.config
        batch = self.pictures.draw(stage.batch, rng, size=stage.size)
        if stage.name == "text":
            ids = self.tokenizer.batch(batch.captions).to(self.device)
            return sketch_loss(self.net, batch.cutouts.to(self.device), ids)
        ids = self.tokens(batch.captions, rng)
        noise_mean, noise_std = getattr(config, f"{stage.name}_noise_mean"), config.noise_std
        sigma_ve = (noise_mean + noise_std * torch.randn(stage.batch, generator=generator)).exp().to(self.device)
        noise = torch.randn(batch.pictures.shape, generator=generator).to(self.device)
        x0 = batch.pictures.to(self.device) * 2 - 1
        if stage.name == "base":
            return base_loss(self.net, x0, ids, sigma_ve, noise)
        return detail_loss(self.net, self.average, x0, ids, sigma_ve, noise)
