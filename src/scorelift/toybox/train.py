"""Training of the embedded prior: text encoder, U-Net at 32 x 32, detail of 64 x 64."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ..core.errors import check_finite, check_positive, check_range
from ..priors.pyramid import Pyramid, UNetConfig, double, halve
from ..priors.text import SKETCH_SIZE, Tokenizer
from ..priors.toybox import ToyboxPrior
from ..priors.unet import TextFeatures, TrunkConfig
from .data import SIZE, Batch, Pictures
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
    told: float = 0.5
    "Share of pictures whose camera is told ..."
    unsaid: float = 0.7
    "... and share of those whose caption leaves the view out."

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("told", "unsaid"):
            check_range(name, getattr(self, name), 0, 1)
        check_finite("noise_mean", self.base_noise_mean, self.detail_noise_mean)
        check_positive("noise_std", self.noise_std)

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
    return UNetConfig(vocabulary=vocabulary, block=1, base=base, **TODAYS)


TODAYS: dict[str, Any] = {"sight": True, "sketch": 512}
"What a training gives a network that has it not."


class Heard(NamedTuple):
    """What a network hears of a batch: captions, and the cameras of some of its pictures."""

    ids: Int[Tensor, "b length"]
    cameras: Float[Tensor, "b 13"]
    told: Bool[Tensor, " b"]

    def by(self, net: Pyramid) -> TextFeatures:
        """As a network reads it."""
        text = net.read(self.ids)
        return net.base.see(text, self.cameras, self.told) if net.config.sight else text


def sketch_loss(net: Pyramid, cutouts: Float[Tensor, "b 4 16 16"], heard: Heard) -> Tensor:
    """Of text encoder and sketch: mean squared error to the pictures without background."""
    return (net.base.sketch(heard.by(net).pooled) - cutouts).square().mean()


def base_loss(net: Pyramid, x0: Tensor, heard: Heard, sigma_ve: Tensor, noise: Tensor) -> Tensor:
    """Of the U-Net, on pictures (b, 3, 32, 32) in [-1, 1]."""
    y = x0 + sigma_ve[:, None, None, None] * noise
    return weighted_error(net.base(y, sigma_ve, heard.by(net)), x0, sigma_ve, net.config.base.sigma_data)


def detail_loss(net: Pyramid, fixed: Pyramid, x0: Tensor, heard: Heard, sigma_ve: Tensor, noise: Tensor) -> Tensor:
    """Of the detail network, on pictures (b, 3, 64, 64) in [-1, 1], given the fixed U-Net's answer to them halved."""
    y = x0 + sigma_ve[:, None, None, None] * noise
    with torch.no_grad():
        text = heard.by(fixed)
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
        pictures.check_size(SIZE)
        tokenizer = start.tokenizer if start else learn_tokenizer()
        torch.manual_seed(config.seed)
        if start and not fresh_unet:
            network = replace(start.net.config, **TODAYS)
        net = Pyramid(network or todays_network(len(tokenizer)))
        if start:
            own = net.state_dict()
            taken = {name: value for name, value in start.net.state_dict().items() if value.shape == own[name].shape}
            if fresh_unet:
                taken = {name: value for name, value in taken.items() if not name.startswith("base.trunk.")}
            net.load_state_dict({**own, **taken})
        self.understood = start is not None and not fresh_unet  # the U-Net has learned to read this text encoder
        super().__init__(config, net, tokenizer, pictures, out, device=device)

    def make_optimizer(self, stage: StageName) -> Muon:
        base, detail = self.net.base, self.net.detail
        sight = [] if base.sight is None else [base.sight]
        reading: list[nn.Module] = [base.text, base.sketch, *sight]
        words: list[object] = [base.text.token, base.text.place, base.sketch.out, *(s.camera for s in sight)]
        choices: dict[StageName, tuple[list[Any], list[object]]] = {
            "text": (reading[self.understood :], words),
            "base": ([*reading, base.trunk], [*words, *base.trunk.edge]),
            "detail": ([detail], [*detail.edge]),
        }
        parts, edge = choices[stage]
        base.text.requires_grad_(stage != "text" or not self.understood)
        return Muon(split_parameters(nn.ModuleList(parts), edge=edge, muon_rate=0.0, adam_rate=0.0))

    def hear(self, batch: Batch, rng: random.Random, *, always: bool = False) -> Heard:
        """A batch's captions, some left out unless `always`, and some of its cameras, mostly in place of view words."""
        config, said = self.config, []
        told = [self.net.config.sight and rng.random() < config.told for _ in batch.captions]
        for caption, unsaid, seen in zip(batch.captions, batch.unsaid, told, strict=True):
            said.append(unsaid if seen and rng.random() < config.unsaid else caption)
        ids = self.tokenizer.batch(said).to(self.device) if always else self.tokens(said, rng)
        return Heard(ids, batch.cameras.to(self.device), torch.tensor(told, device=self.device))

    def loss(self, stage: Stage, rng: random.Random, generator: torch.Generator) -> Tensor:
        config = self.config
        batch = self.pictures.draw(stage.batch, rng, size=stage.size)
        heard = self.hear(batch, rng, always=stage.name == "text")
        if stage.name == "text":
            return sketch_loss(self.net, batch.cutouts.to(self.device), heard)
        noise_mean, noise_std = getattr(config, f"{stage.name}_noise_mean"), config.noise_std
        sigma_ve = (noise_mean + noise_std * torch.randn(stage.batch, generator=generator)).exp().to(self.device)
        noise = torch.randn(batch.pictures.shape, generator=generator).to(self.device)
        x0 = batch.pictures.to(self.device) * 2 - 1
        if stage.name == "base":
            return base_loss(self.net, x0, heard, sigma_ve, noise)
        return detail_loss(self.net, self.average, x0, heard, sigma_ve, noise)
