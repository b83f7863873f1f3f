"""What every training of the closed world's denoisers shares: the plan, the step, the log, the checkpoint.

Every random choice of a step derives from (seed, step), so a resumed run takes the steps of an uninterrupted one.
"""

from __future__ import annotations

import copy
import json
import math
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..core.config import from_json, to_json
from ..core.errors import bad, check_at_least, check_positive, check_range
from ..core.files import load_state, save_state, write_json
from ..core.team import Team
from ..priors.text import Tokenizer
from ..priors.unet import Denoiser, TrunkConfig, channels_last
from .data import Pictures
from .muon import Muon

StageName = Literal["text", "base", "detail", "refine"]


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
class Plan(ABC):
    """How a network is trained, but for its stages."""

    adam_share: float = 0.12
    "Rate of what Muon does not train (AdamW does) as a fraction of Muon's."
    warmup_steps: int = 50
    cooldown: float = 0.7
    "Fraction of each stage over which the rates fall to zero, at its end."
    ema_pictures: float = 12_000
    "Half-life of the averaged weights."
    unconditional: float = 0.1
    "Share of pictures trained without caption, for classifier-free guidance."
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    "Of the network's arithmetic; auto: bfloat16 where the device computes it natively."
    seed: int = 0

    def __post_init__(self) -> None:
        check_positive("ema_pictures", self.ema_pictures)
        check_positive("adam_share", self.adam_share)
        check_at_least("warmup_steps", self.warmup_steps)
        check_positive("cooldown", self.cooldown)
        for name in ("cooldown", "unconditional"):
            check_range(name, getattr(self, name), 0, 1)
        for stage in self.stages:
            check_at_least(f"{stage.name}_pictures", stage.pictures, 0)
            check_positive(f"{stage.name}_batch", stage.batch)
            check_positive(f"{stage.name}_rate", stage.rate)

    @property
    @abstractmethod
    def stages(self) -> tuple[Stage, ...]:
        """In their order."""

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


class Training(ABC):
    """Network, averaged network, optimizer and step count, in one folder."""

    config: Plan

    def __init__(self, config: Plan, net: Denoiser, tokenizer: Tokenizer, pictures: Pictures, out: Path, *,
                 device: str = "cpu") -> None:  # fmt: skip
        self.config, self.pictures, self.out, self.device = config, pictures, out, device
        self.team = Team.join(device)
        self.tokenizer = tokenizer
        self.net = channels_last(net.to(device))
        self.average = copy.deepcopy(self.net).requires_grad_(False)
        self.step = 0
        self.optimizer = self.make_optimizer(self.config.locate(0)[0].name)
        self.half = config.precision == "bfloat16" or (config.precision == "auto" and computes_bfloat16(device))
        out.mkdir(parents=True, exist_ok=True)
        self.checkpoint = out / "checkpoint.safetensors"

    @abstractmethod
    def make_optimizer(self, stage: StageName) -> Muon:
        """A fresh optimizer of what a stage trains."""

    @abstractmethod
    def loss(self, stage: Stage, rng: random.Random, generator: torch.Generator) -> Tensor:
        """Of pictures, captions and noise that are drawn with the step's own generators."""

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if there is one.

        Raises:
            ScoreliftError: if it is of another network, or was trained by another plan.
        """
        if not self.checkpoint.exists():
            return False
        path = self.out / "train.json"
        begun = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        for name, value in asdict(self.config).items():
            if begun.get(name, value) != value:
                raise bad(name, expected=f"{begun[name]}, with which the training in {self.out} was begun", got=value,
                          remedy="Choose another --out.")  # fmt: skip
        state = load_state(self.checkpoint, self.device)
        if from_json(state["network"], (type(self.net.config), TrunkConfig)) != self.net.config:
            raise bad(
                "network", expected=f"the sizes in {self.checkpoint}", got="others", remedy="Choose another --out."
            )
        self.tokenizer = Tokenizer(state["pieces"])
        self.net.load_state_dict(state["net"])
        self.average.load_state_dict(state["average"])
        self.step = state["step"]
        self.optimizer = self.make_optimizer(self.config.locate(max(self.step - 1, 0))[0].name)
        self.optimizer.load_state_dict(state["optimizer"])
        return True

    def save(self) -> None:
        """Write the checkpoint, atomically."""
        if not self.team.leads:
            return
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

    def tokens(self, captions: Sequence[str], rng: random.Random) -> Int[Tensor, "b length"]:
        """Token ids of captions, some of them left out."""
        kept = ["" if rng.random() < self.config.unconditional else caption for caption in captions]
        return self.tokenizer.batch(kept).to(self.device)

    def one_step(self) -> float:
        """Take the next step; returns its loss."""
        config = self.config
        stage, into = config.locate(self.step)
        if into == 0:
            self.optimizer = self.make_optimizer(stage.name)
        mine = stage._replace(batch=len(self.team.mine(stage.batch, f"{stage.name}_batch")))
        rank, seed = self.team.rank, config.seed
        rng = random.Random(f"{seed}/{self.step}" + f"/{rank}" * (rank > 0))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + self.step + rank * 500_000_003)
        kind = torch.device(self.device).type
        # in bfloat16 on a CPU the fused attention's way back takes two fifths of a step, the plain one's little
        attention = sdpa_kernel(SDPBackend.MATH) if kind == "cpu" else nullcontext()
        with attention, torch.autocast(kind, torch.bfloat16, enabled=self.half):
            loss = self.loss(mine, rng, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.team.average(trained)
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

    def run(
        self, *, save_every_s: float = 600, steps: int | None = None, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[dict[str, Any]]:
        """Train to the end of the plan, for `steps` or until `stop` says so; yields each entry of train.jsonl.

        What there is at the end is saved, and every so often on the way.
        """
        if self.team.leads:
            write_json(self.out / "train.json", asdict(self.config))
        saved = started = time.monotonic()
        losses: list[float] = []
        pictures, last = 0, self.step if steps is None else self.step + steps
        while self.step < self.config.total_steps and (steps is None or self.step < last):
            if self.team.any(stop(), self.device):
                break
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
                if self.team.leads:
                    with (self.out / "train.jsonl").open("a", encoding="utf-8") as log:
                        log.write(json.dumps(entry) + "\n")
                losses, pictures, started = [], 0, now
                yield entry
                if now - saved > save_every_s:
                    self.save()
                    saved = now
        self.save()
