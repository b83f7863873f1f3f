"""The retriever: a contrastive model of captions and pictures of the closed world, CLIP in miniature.

It is trained on pictures the prior never saw, coloured and textureless ones, so that retrieval precision can be
measured offline, in colour and in geometry.

Ref: Radford et al., "Learning transferable visual models from natural language supervision" (2021), Fig. 3.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.files import load_weights, save_weights
from ..priors.text import TextEncoder, Tokenizer
from ..priors.unet import channels_last
from .data import SIZE, Batch, Pictures
from .grammar import say
from .judge import Trunk, roughen
from .muon import Muon, split_parameters
from .train import learn_tokenizer

WEIGHTS = Path(__file__).parent / "retriever.safetensors"
DIM = 128


class Retriever(nn.Module):
    """Unit vectors of pictures (64 x 64, linear rgb) and of captions; their products rank."""

    def __init__(self, tokenizer: Tokenizer, widths: tuple[int, ...] = (64, 128, 192)) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.trunk = Trunk(widths)
        self.text = TextEncoder(len(tokenizer), 96, 2, 3)
        self.from_picture = nn.Linear(self.trunk.features, DIM)
        self.from_text = nn.Linear(96, DIM)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def embed_pictures(self, rgb: Float[Tensor, "n 3 64 64"]) -> Float[Tensor, "n d"]:
        """Unit vectors of pictures."""
        return F.normalize(self.from_picture(self.trunk(rgb)), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "m d"]:
        """Unit vectors of captions."""
        ids = self.tokenizer.batch(texts).to(self.log_scale.device)
        return F.normalize(self.from_text(self.text(ids)[1]), dim=-1)


def contrastive_loss(pictures: Float[Tensor, "n d"], texts: Float[Tensor, "n d"], log_scale: Tensor) -> Tensor:
    """Mean cross entropy of finding each picture's caption and each caption's picture in the batch."""
    logits = log_scale.clamp_max(4.6).exp() * pictures @ texts.T
    target = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def bare_captions(batch: Batch, rng: random.Random) -> list[str]:
    """Captions of what is shown, without view or zoom."""
    return [say(spec, None, rng) for spec in batch.specs]


def train_retriever(coloured: Pictures, textureless: Pictures, steps: int, *, batch: int = 96, seed: int = 17,
                    on_step: Callable[[int, float], None] | None = None) -> Retriever:  # fmt: skip
    """Train on `steps` batches, one third of them textureless pictures."""
    for pictures in (coloured, textureless):
        pictures.check_size(SIZE)
    torch.manual_seed(seed)
    net = channels_last(Retriever(learn_tokenizer()))
    edge = [net.trunk.stem, net.text.token, net.text.place, net.from_picture, net.from_text]
    optimizer = Muon(split_parameters(net, edge=edge, muon_rate=0.02, adam_rate=1.5e-3))
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 100, 2 * (1 - step / steps)))
    for step in range(steps):
        rng = random.Random(f"retriever/{seed}/{step}")
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        drawn = (textureless if step % 3 == 2 else coloured).draw(batch, rng, train=False)
        seen = net.embed_pictures(roughen(drawn.pictures, generator))
        loss = contrastive_loss(seen, net.embed_texts(bare_captions(drawn, rng)), net.log_scale)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        rate.step()
        if on_step is not None:
            on_step(step, float(loss.detach()))
    return net.eval()


def save_retriever(net: Retriever, path: Path, about: dict[str, Any]) -> None:
    """Write a retriever, half precision, with its pieces and a note."""
    save_weights(path, net.state_dict(), {"pieces": net.tokenizer.pieces, **about})


def load_retriever(path: Path | None = None) -> tuple[Retriever, dict[str, Any]]:
    """The retriever that ships with the package, and the note that came with it.

    Raises:
        ScoreliftError: if there is none.
    """
    tensors, about = load_weights(path or WEIGHTS, "retriever", "Train them with `scorelift toybox retriever`.")
    net = Retriever(Tokenizer(about.pop("pieces")))
    net.load_state_dict(tensors)
    return net.eval(), about
