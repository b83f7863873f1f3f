"""Training of the embedded prior, in three stages: the text encoder, the U-Net at 32 x 32, the detail of 64 x 64.

Every random choice of a step derives from (seed, step), so a resumed run takes the steps of an uninterrupted one.
"""

from __future__ import annotations

import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..core.config import to_json
from ..core.errors import bad, check_positive
from ..core.files import load_state, save_state, write_json
from ..priors.text import SKETCH_SIZE, Tokenizer
from ..priors.unet import Pyramid, UNetConfig, channels_last, double, halve
from .data import Pictures
from .grammar import say
from .muon import Muon, split_parameters
from .spec import draw
from .views import draw_view

PIECES = 512
StageName = Literal["text", "base", "detail"]


class Stage(NamedTuple):
    """A part of the training."""

    name: StageName
    size: int
    "Height and width of its pictures."
    pictures: int
    batch: int
    rate: float
    "Peak learning rate of the hidden matrices."

    @property
    def steps(self) -> int:
        """Batches, the last one whole."""
        return math.ceil(self.pictures / self.batch)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how the prior is trained. Counts are in pictures."""

    text_pictures: int = 300_000
    "Seen by the text encoder alone, which learns to sketch them at 16 x 16."
    base_pictures: int = 2_000_000
    "Seen by U-Net and text encoder at 32 x 32."
    detail_pictures: int = 400_000
    "Seen by the detail network at 64 x 64; the U-Net stays as it is."
    text_batch: int = 256
    base_batch: int = 128
    detail_batch: int = 64
    text_rate: float = 0.02
    "Peak learning rate of the hidden matrices (Muon)."
    base_rate: float = 0.005
    detail_rate: float = 0.005
    adam_share: float = 0.12
    "Rate of everything else (AdamW) as a fraction of that."
    warmup_steps: int = 50
    cooldown: float = 0.7
    "Fraction of each stage over which the rates fall to zero, at its end."
    ema_pictures: float = 12_000
    "Half-life of the averaged weights."
    unconditional: float = 0.1
    "Share of pictures trained without caption, for classifier-free guidance."
    base_noise_mean: float = 0.5
    "ln sigma_ve ~ N(base_noise_mean, noise_std) at 32 x 32: where view and shape are decided."
    detail_noise_mean: float = -0.7
    "The same at 64 x 64: where detail is."
    noise_std: float = 1.4
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    "Of the network's arithmetic; auto: bfloat16 where the device computes it natively."
    seed: int = 0

    def __post_init__(self) -> None:
        for stage in ("text", "base", "detail"):
            for name in (f"{stage}_batch", f"{stage}_rate"):
                check_positive(name, getattr(self, name))
        check_positive("ema_pictures", self.ema_pictures)
        check_positive("adam_share", self.adam_share)

    @property
    def stages(self) -> tuple[Stage, Stage, Stage]:
        """In their order."""
        return (
            Stage("text", SKETCH_SIZE, self.text_pictures, self.text_batch, self.text_rate),
            Stage("base", 32, self.base_pictures, self.base_batch, self.base_rate),
            Stage("detail", 64, self.detail_pictures, self.detail_batch, self.detail_rate),
        )

    @property
    def total_steps(self) -> int:
        """Steps of the whole plan."""
        return sum(stage.steps for stage in self.stages)

    def locate(self, step: int) -> tuple[Stage, int]:
        """The stage of a step and the steps into it; past the plan's end, the last stage."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        return stage, stage.steps + step

    def rate(self, step: int) -> float:
        """Learning rate of a step's hidden matrices: in each stage warm-up, plateau, straight cool-down."""
        stage, into = self.locate(step)
        left = 1 - into / stage.steps
        return stage.rate * min(1.0, (into + 1) / self.warmup_steps) * min(1.0, left / self.cooldown)


@cache
def learn_tokenizer(captions: int = 20_000) -> Tokenizer:
    """Sub-word pieces of the closed world's captions; always the same ones."""
    rng = random.Random(0)
    texts = (
        say(draw(rng), draw_view(rng.uniform(-10, 90), rng.uniform(0, 360), rng), rng, zoomed=rng.random() < 0.15)
        for _ in range(captions)
    )
    return Tokenizer.learn(texts, PIECES)


def computes_bfloat16(device: str) -> bool:
    """Whether a device multiplies bfloat16 matrices faster than float32 ones."""
    if device.startswith("cuda"):
        return torch.cuda.is_bf16_supported()
    tests = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, test, lambda: False)() for test in tests)


def weighted_error(
    predicted: Float[Tensor, "b c h w"], x0: Float[Tensor, "b c h w"], sigma_ve: Float[Tensor, " b"], sigma_data: float
) -> Tensor:
    """EDM's weighted denoising loss, about 1 for a network that predicts nothing.

    Ref: Karras et al. (2022), Eq. 2 and Table 1: weight (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.
    """
    s, d = sigma_ve[:, None, None, None], sigma_data
    return ((predicted - x0).square() * ((s * s + d * d) / (s * d) ** 2)).mean()


def sketch_loss(net: Pyramid, cutouts: Float[Tensor, "b 4 16 16"], ids: Tensor) -> Tensor:
    """Of text encoder and sketch: mean squared error to the pictures without background."""
    return (net.base.sketch(net.read(ids).pooled) - cutouts).square().mean()


def base_loss(net: Pyramid, x0: Tensor, ids: Tensor, sigma_ve: Tensor, noise: Tensor) -> Tensor:
    """Of the U-Net, on pictures (b, 3, 32, 32) in [-1, 1]."""
    y = x0 + sigma_ve[:, None, None, None] * noise
    return weighted_error(net.base(y, sigma_ve, net.read(ids)), x0, sigma_ve, net.config.base.sigma_data)


def detail_loss(net: Pyramid, fixed: Pyramid, x0: Tensor, ids: Tensor, sigma_ve: Tensor, noise: Tensor) -> Tensor:
    """Of the detail network, on pictures (b, 3, 64, 64) in [-1, 1], given what the fixed U-Net makes of them halved."""
    y = x0 + sigma_ve[:, None, None, None] * noise
    with torch.no_grad():
        text = fixed.read(ids)
        coarse = fixed.base(halve(y), sigma_ve / 2, text)
    detail = net.add_detail(y, coarse, sigma_ve, text)
    return weighted_error(detail, x0 - double(halve(x0)), sigma_ve, net.config.detail.sigma_data)


class Trainer:
    """Network, averaged network, optimizer and step count, in one folder."""

    def __init__(self, config: TrainConfig, pictures: Pictures, out: Path, *, device: str = "cpu",
                 network: UNetConfig | None = None) -> None:  # fmt: skip
        self.config, self.pictures, self.out, self.device = config, pictures, out, device
        self.tokenizer = learn_tokenizer()
        torch.manual_seed(config.seed)
        network = network or UNetConfig(vocabulary=len(self.tokenizer))
        self.net = channels_last(Pyramid(network).to(device))
        self.average = channels_last(Pyramid(network).to(device)).requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        self.step = 0
        self.optimizer = self._optimizer(self.config.locate(0)[0].name)
        self.half = config.precision == "bfloat16" or (config.precision == "auto" and computes_bfloat16(device))
        out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = out / "checkpoint.safetensors"

    def _optimizer(self, stage: StageName) -> Muon:
        """A fresh optimizer of what a stage trains."""
        base, detail = self.net.base, self.net.detail
        reading: list[nn.Module] = [base.text, base.sketch]
        words: list[object] = [base.text.token, base.text.place, base.sketch.out]
        choices: dict[StageName, tuple[list[nn.Module], list[object]]] = {
            "text": (reading, words),
            "base": ([*reading, base.trunk], [*words, *base.trunk.edge]),
            "detail": ([detail], [*detail.edge]),
        }
        parts, edge = choices[stage]
        return Muon(split_parameters(nn.ModuleList(parts), edge=edge, muon_rate=0.0, adam_rate=0.0))

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return False
        state = load_state(self.checkpoint, self.device)
        if state["network"] != to_json(self.net.config):
            raise bad(
                "network", expected=f"the sizes in {self.checkpoint}", got="others", remedy="Choose another --out."
            )
        self.tokenizer = Tokenizer(state["pieces"])
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.optimizer = self._optimizer(self.config.locate(max(self.step - 1, 0))[0].name)
        self.optimizer.load_state_dict(state["optimizer"])
        return True

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        save_state(
            self.checkpoint,
            {
                "net": self.net.state_dict(),
                "average": self.average.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "step": self.step,
                "pieces": self.tokenizer.pieces,
                "network": to_json(self.net.config),
            },
        )

    def _loss(self, stage: Stage, step: int) -> Tensor:
        """Of the step's pictures, captions and noise."""
        config = self.config
        rng = random.Random(f"{config.seed}/{step}")
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        batch = self.pictures.draw(stage.batch, rng, size=stage.size)
        if stage.name == "text":
            ids = self.tokenizer.batch(batch.captions).to(self.device)
            return sketch_loss(self.net, batch.cutouts.to(self.device), ids)
        captions = ["" if rng.random() < config.unconditional else caption for caption in batch.captions]
        ids = self.tokenizer.batch(captions).to(self.device)
        mean = config.base_noise_mean if stage.name == "base" else config.detail_noise_mean
        sigma_ve = (mean + config.noise_std * torch.randn(stage.batch, generator=generator)).exp().to(self.device)
        noise = torch.randn(batch.pictures.shape, generator=generator).to(self.device)
        x0 = batch.pictures.to(self.device) * 2 - 1
        if stage.name == "base":
            return base_loss(self.net, x0, ids, sigma_ve, noise)
        return detail_loss(self.net, self.average, x0, ids, sigma_ve, noise)

    def one_step(self) -> float:
        """Take the next step; returns its loss."""
        config = self.config
        stage, into = config.locate(self.step)
        if into == 0:
            self.optimizer = self._optimizer(stage.name)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.half):
            loss = self._loss(stage, self.step)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(trained, 2.0)
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(self.step) * (1 if group["use_muon"] else config.adam_share)
        self.optimizer.step()
        keep = 0.5 ** (stage.batch / min(config.ema_pictures, (0.1 * into + 1) * stage.batch))
        with torch.no_grad():
            for averaged, current in zip(self.average.parameters(), self.net.parameters(), strict=True):
                averaged.lerp_(current, 1 - keep)
        self.step += 1
        return float(loss.detach())

    def run(self, *, save_every_s: float = 600,
            steps: int | None = None) -> Iterator[dict]:  # fmt: skip
        """Train to the end of the plan (or for `steps`), logging to train.jsonl and saving; yields each log entry."""
        write_json(self.out / "train.json", asdict(self.config))
        saved = started = time.monotonic()
        losses: list[float] = []
        pictures, last = 0, self.step if steps is None else self.step + steps
        while self.step < self.config.total_steps and (steps is None or self.step < last):
            stage, _ = self.config.locate(self.step)
            losses.append(self.one_step())
            pictures += stage.batch
            if not math.isfinite(losses[-1]):
                raise bad(f"loss at step {self.step}", expected="a finite number", got=losses[-1],
                          remedy=f"The last good state is {self.checkpoint}.")  # fmt: skip
            if self.step % 50 == 0:
                now = time.monotonic()
                entry = {
                    "step": self.step, "stage": stage.name, "loss": round(sum(losses) / len(losses), 4),
                    "pictures_per_s": round(pictures / (now - started), 1),
                }  # fmt: skip
                with (self.out / "train.jsonl").open("a") as log:
                    log.write(json.dumps(entry) + "\n")
                losses, pictures, started = [], 0, now
                yield entry
                if now - saved > save_every_s:
                    self.save()
                    saved = now
        self.save()
