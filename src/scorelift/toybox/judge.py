"""The judge: a classifier that says what a picture of the closed world shows, trained on pictures the prior never saw.

It names the object, its main colour, the view (front, left, right, back, overhead), the finish and what is worn.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.files import load_weights, save_weights
from ..priors.unet import channels_last
from .accessories import ACCESSORIES
from .data import SIZE, Batch, Pictures
from .muon import Muon, split_parameters
from .palette import COLOUR_NAMES
from .spec import FINISHES, Spec
from .toys import KINDS
from .views import OVERHEAD_DEG, quadrant

VIEWS = ("front", "left", "right", "back", "overhead")
HEADS = {
    "object": tuple(KINDS), "colour": COLOUR_NAMES, "view": VIEWS, "finish": FINISHES, "worn": tuple(ACCESSORIES),
}  # fmt: skip
WEIGHTS = Path(__file__).parent / "judge.safetensors"


class Trunk(nn.Module):
    """A small residual network over 64 x 64 pictures; its features keep a 4 x 4 layout."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.features = widths[-1] * 16
        self.stem = nn.Conv2d(48, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(widths))
        self.blocks = nn.ModuleList(nn.ModuleList(_block(width) for _ in range(2)) for width in widths)
        self.norm = nn.LayerNorm(self.features)

    def forward(self, rgb: Float[Tensor, "b 3 64 64"]) -> Float[Tensor, "b features"]:
        """Features of linear rgb in [0, 1]."""
        x = F.pixel_unshuffle(rgb * 2 - 1, 4).contiguous(memory_format=torch.channels_last)
        x = self.stem(x)
        for i, blocks in enumerate(self.blocks):
            if i:
                x = self.down[i - 1](F.avg_pool2d(x, 2))
            for block in cast(nn.ModuleList, blocks):
                x = x + block(x)
        return self.norm(x.flatten(1))


def _block(width: int) -> nn.Sequential:
    layers = [nn.GroupNorm(width // 16, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1)]
    return nn.Sequential(*layers, nn.GroupNorm(width // 16, width), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))


class Judge(nn.Module):
    """One linear head a question over a trunk."""

    def __init__(self, widths: tuple[int, ...] = (64, 128, 192)) -> None:
        super().__init__()
        self.trunk = Trunk(widths)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(self.trunk.features, len(labels)) for name, labels in HEADS.items()}
        )

    def forward(self, rgb: Float[Tensor, "b 3 64 64"]) -> dict[str, Float[Tensor, "b _"]]:
        """Logits of each head for linear rgb in [0, 1]."""
        features = self.trunk(rgb)
        return {name: head(features) for name, head in self.heads.items()}


@dataclass(frozen=True)
class Verdict:
    """What the judge takes a batch of pictures for, by name; `worn` may name several."""

    object: list[str]
    colour: list[str]
    view: list[str]
    finish: list[str]
    worn: list[tuple[str, ...]]
    probability: dict[str, Float[Tensor, "b _"]]


def view_label(elevation_deg: float, azimuth_deg: float) -> str:
    """The judge's name for a view."""
    return "overhead" if elevation_deg > OVERHEAD_DEG else quadrant(azimuth_deg)


@torch.no_grad()
def judge_pictures(judge: Judge, rgb: Float[Tensor, "b 3 64 64"]) -> Verdict:
    """Classify pictures, linear rgb in [0, 1]."""
    logits = [judge(part) for part in rgb.split(64)]
    joined = {name: torch.cat([part[name] for part in logits]) for name in HEADS}
    named = {name: [HEADS[name][i] for i in t.argmax(-1).tolist()] for name, t in joined.items() if name != "worn"}
    worn = [tuple(n for n, on in zip(HEADS["worn"], row, strict=True) if on) for row in (joined["worn"] > 0).tolist()]
    probability = {name: t.sigmoid() if name == "worn" else t.softmax(-1) for name, t in joined.items()}
    return Verdict(**named, worn=worn, probability=probability)


def labels(batch: Batch) -> dict[str, Tensor]:
    """Targets of each head; -1 where the question has no answer (view of an object without a front)."""

    def index(name: str, values: list[str]) -> Int[Tensor, " b"]:
        return torch.tensor([HEADS[name].index(value) for value in values])

    def seen(spec: Spec, elevation: float, azimuth: float) -> int:
        label = view_label(elevation, azimuth)
        return VIEWS.index(label) if label == "overhead" or KINDS[spec.kind].has_front else -1

    angles = zip(batch.specs, batch.elevation_deg.tolist(), batch.azimuth_deg.tolist(), strict=True)
    worn = [[float(name in {w.name for w in spec.worn}) for name in HEADS["worn"]] for spec in batch.specs]
    return {
        "object": index("object", [spec.kind for spec in batch.specs]),
        "colour": index("colour", [spec.main_colour for spec in batch.specs]),
        "finish": index("finish", [spec.finish for spec in batch.specs]),
        "view": torch.tensor([seen(*angle) for angle in angles]),
        "worn": torch.tensor(worn),
    }


def judge_loss(logits: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
    """Sum of the heads' cross entropies."""
    total = F.binary_cross_entropy_with_logits(logits["worn"], target["worn"]) * 4
    for name in ("object", "colour", "view", "finish"):
        total = total + F.cross_entropy(logits[name], target[name], ignore_index=-1)
    return total


def train_judge(pictures: Pictures, steps: int, *, batch: int = 64, seed: int = 7, start: Judge | None = None,
                on_step: Callable[[int, float], None] | None = None) -> Judge:  # fmt: skip
    """Train a judge on `steps` batches of pictures, some blurred and noised so that it forgives a sample's grain.

    `start` is a judge to train further, with another seed than it had.
    """
    pictures.check_size(SIZE)
    torch.manual_seed(seed)
    judge = channels_last(start or Judge()).train()
    optimizer = Muon(split_parameters(judge, edge=[judge.trunk.stem, judge.heads], muon_rate=0.02, adam_rate=1.5e-3))
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100, 2 * (1 - step / steps)))
    for step in range(steps):
        rng = random.Random(f"judge/{seed}/{step}")
        drawn = pictures.draw(batch, rng, train=False)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        loss = judge_loss(judge(roughen(drawn.pictures, generator)), labels(drawn))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        rate.step()
        if on_step is not None:
            on_step(step, float(loss.detach()))
    return judge.eval()


def roughen(rgb: Tensor, generator: torch.Generator) -> Tensor:
    """Blur half the pictures a little and add faint noise, as samples and renders have."""
    blurred = F.avg_pool2d(F.pad(rgb, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    share = torch.rand(len(rgb), 1, 1, 1, generator=generator) * (
        torch.rand(len(rgb), 1, 1, 1, generator=generator) < 0.5
    )
    noise = 0.04 * torch.rand(len(rgb), 1, 1, 1, generator=generator) * torch.randn(rgb.shape, generator=generator)
    return torch.lerp(rgb, blurred, share) + noise


def save_judge(judge: Judge, path: Path, about: dict) -> None:
    """Write a judge, half precision, with what it was trained on and how well it reads true pictures."""
    save_weights(path, judge.state_dict(), about)


def load_judge(path: Path | None = None) -> tuple[Judge, dict]:
    """The judge that ships with the package, and the note that came with it.

    Raises:
        ScoreliftError: if there is none.
    """
    tensors, about = load_weights(path or WEIGHTS, "judge", "Train them with `scorelift toybox judge`.")
    judge = Judge()
    judge.load_state_dict(tensors)
    return judge.eval(), about
