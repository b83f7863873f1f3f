"""Training of the embedded prior: first at 32 x 32, then mostly at 64 x 64, on pictures of the closed world.

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
from typing import Literal

import torch
from torch import Tensor, nn

from ..core.errors import bad, check_positive
from ..core.files import load_state, save_state, write_json
from ..priors.text import Tokenizer
from ..priors.unet import UNet, UNetConfig, channels_last
from .data import Batch, Pictures
from .grammar import say
from .muon import Muon, split_parameters
from .spec import draw
from .views import draw_view

PIECES = 224


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how the prior is trained. Counts are in pictures."""

    low_pictures: int = 1_000_000
    "Seen at 32 x 32, first."
    high_pictures: int = 1_000_000
    "Seen at 64 x 64, after."
    low_batch: int = 128
    high_batch: int = 48
    low_every: int = 12
    "In the second phase, one step in so many is still at 32 x 32."
    learning_rate: float = 0.004
    "Of the hidden matrices (Muon)."
    adam_rate: float = 7e-4
    "Of everything else (AdamW)."
    warmup_steps: int = 300
    cooldown: float = 0.8
    "Fraction of all pictures over which the rates fall to zero, at the end."
    ema_pictures: float = 12_000
    "Half-life of the averaged weights."
    unconditional: float = 0.1
    "Share of pictures trained without caption, for classifier-free guidance."
    noise_mean: float = 0.2
    noise_std: float = 1.4
    "ln sigma_ve ~ N(noise_mean + ln(size / 64), noise_std)."
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    "Of the network's arithmetic; auto: bfloat16 where the device computes it natively."
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("low_batch", "high_batch", "learning_rate", "adam_rate", "ema_pictures"):
            check_positive(name, getattr(self, name))

    @property
    def total_steps(self) -> int:
        """Steps of the whole plan."""
        step = math.ceil(self.low_pictures / self.low_batch)
        while self.plan(step)[2] < 1:
            step += 1
        return step

    def plan(self, step: int) -> tuple[int, int, float]:
        """Picture size, batch size and training progress in [0, 1] of a step; progress 1 means done."""
        low_steps = math.ceil(self.low_pictures / self.low_batch)
        high_steps = math.ceil(self.high_pictures / self.high_batch)
        if step < low_steps:
            seen, size, batch = step * self.low_batch / 4, 32, self.low_batch
        else:
            into = step - low_steps
            seen = self.low_pictures / 4 + into * self.high_batch
            low = self.low_every > 0 and into % self.low_every == self.low_every - 1
            size, batch = (32, self.low_batch) if low else (64, self.high_batch)
        whole = self.low_pictures / 4 + high_steps * self.high_batch
        return size, batch, min(seen / whole, 1.0)

    def rate(self, step: int) -> float:
        """Learning rate as a fraction of its peak: warm-up, plateau, straight cool-down."""
        _, _, progress = self.plan(step)
        return min(1.0, (step + 1) / self.warmup_steps) * min(1.0, (1 - progress) / self.cooldown)


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


def denoising_loss(net: UNet, batch: Batch, ids: Tensor, sigma_ve: Tensor, noise: Tensor) -> Tensor:
    """EDM's weighted denoising loss, about 1 for a network that predicts nothing.

    Ref: Karras et al. (2022), Eq. 2 and Table 1: weight (sigma^2 + sigma_data^2) / (sigma sigma_data)^2.
    """
    x0 = batch.pictures.to(noise) * 2 - 1
    s, d = sigma_ve[:, None, None, None], net.config.sigma_data
    error = net(x0 + s * noise, sigma_ve, net.read(ids)) - x0
    return (error.square() * ((s * s + d * d) / (s * d) ** 2)).mean()


class Trainer:
    """Network, averaged network, optimizer and step count, in one folder."""

    def __init__(self, config: TrainConfig, pictures: Pictures, out: Path, *, device: str = "cpu",
                 network: UNetConfig | None = None) -> None:  # fmt: skip
        self.config, self.pictures, self.out, self.device = config, pictures, out, device
        self.tokenizer = learn_tokenizer()
        torch.manual_seed(config.seed)
        network = network or UNetConfig(vocabulary=len(self.tokenizer))
        self.net = channels_last(UNet(network).to(device))
        self.average = channels_last(UNet(network).to(device)).requires_grad_(False)
        self.average.load_state_dict(self.net.state_dict())
        edge = [self.net.text.token, self.net.text.place, self.net.stem, self.net.out, self.net.noise]
        self.optimizer = Muon(
            split_parameters(self.net, edge=edge, muon_rate=config.learning_rate, adam_rate=config.adam_rate)
        )
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        self.step = 0
        self.half = config.precision == "bfloat16" or (config.precision == "auto" and computes_bfloat16(device))
        out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = out / "checkpoint.safetensors"

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one."""
        if not self.checkpoint.exists():
            return False
        state = load_state(self.checkpoint, self.device)
        if state["network"] != json.loads(json.dumps(asdict(self.net.config))):
            raise bad(
                "network", expected=f"the sizes in {self.checkpoint}", got="others", remedy="Choose another --out."
            )
        self.tokenizer = Tokenizer(state["pieces"])
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
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
                "network": json.loads(json.dumps(asdict(self.net.config))),
            },
        )

    def one_step(self) -> float:
        """Take the next step; returns its loss."""
        config, step = self.config, self.step
        size, count, _ = config.plan(step)
        rng = random.Random(f"{config.seed}/{step}")
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        batch = self.pictures.draw(count, rng, size=size)
        captions = ["" if rng.random() < config.unconditional else caption for caption in batch.captions]
        ids = self.tokenizer.batch(captions).to(self.device)
        mean = config.noise_mean + math.log(size / 64)
        sigma_ve = (mean + config.noise_std * torch.randn(count, generator=generator)).exp().to(self.device)
        noise = torch.randn(batch.pictures.shape, generator=generator).to(self.device)
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.half):
            loss = denoising_loss(self.net, batch, ids, sigma_ve, noise)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 2.0)
        for group, peak in zip(self.optimizer.param_groups, self.peaks, strict=True):
            group["lr"] = peak * config.rate(step)
        self.optimizer.step()
        seen = step * count
        keep = 0.5 ** (count / min(config.ema_pictures, 0.1 * seen + count))
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
        while self.config.plan(self.step)[2] < 1 and (steps is None or self.step < last):
            size, count, progress = self.config.plan(self.step)
            losses.append(self.one_step())
            pictures += count
            if not math.isfinite(losses[-1]):
                raise bad(f"loss at step {self.step}", expected="a finite number", got=losses[-1],
                          remedy=f"The last good state is {self.checkpoint}.")  # fmt: skip
            if self.step % 50 == 0:
                now = time.monotonic()
                entry = {
                    "step": self.step, "size": size, "progress": round(progress, 4),
                    "loss": round(sum(losses) / len(losses), 4), "pictures_per_s": round(pictures / (now - started), 1),
                }  # fmt: skip
                with (self.out / "train.jsonl").open("a") as log:
                    log.write(json.dumps(entry) + "\n")
                losses, pictures, started = [], 0, now
                yield entry
                if now - saved > save_every_s:
                    self.save()
                    saved = now
        self.save()
