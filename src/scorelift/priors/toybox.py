"""The embedded prior: a small text-to-image diffusion model of toy objects that ships inside the package."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.cameras import Cameras
from ..core.config import from_json
from ..core.diffusion import Cosine, Level
from ..core.errors import ScoreliftError, bad
from ..core.files import load_weights
from ..core.words import words
from .adapters import Anatomy, block_layers
from .base import Condition, Prior, ViewWords
from .known import SINGLE
from .pyramid import Pyramid, UNetConfig
from .text import MAX_TOKENS, Tokenizer
from .unet import Denoiser, TextFeatures, TrunkConfig, channels_last

WEIGHTS = "toybox.safetensors"
FORMAT = "scorelift-toybox-2"


def _condition(text: TextFeatures) -> Condition:
    return Condition({"tokens": text.tokens, "pooled": text.pooled, "padding": text.padding})


def _features(condition: Condition) -> TextFeatures:
    t = condition.tensors
    return TextFeatures(t["tokens"], t["pooled"], t["padding"])


class ToyPrior(Prior):
    """What priors of the closed world share: its words, and a network that reads them."""

    schedule = Cosine()

    def __init__(self, net: Denoiser, tokenizer: Tokenizer, known_words: Sequence[str], view_words: ViewWords) -> None:
        self.net = net.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.known_words = frozenset(known_words)
        self.view_words = view_words

    @property
    def device(self) -> torch.device:
        return next(self.net.parameters()).device

    def to(self, device: torch.device | str) -> ToyPrior:
        self.net.to(device)
        return self

    def anatomy(self) -> Anatomy:
        trunks = self.net.trunks
        return Anatomy(block_layers(*trunks), [(trunk.noise, trunk.prompt.out_features) for trunk in trunks])

    def check_prompt(self, prompt: str) -> None:
        """Raise for words the model was never trained on, naming the nearest it knows, and for too many of them."""
        if len(self.tokenizer.encode(prompt)) >= MAX_TOKENS:
            raise bad("prompt", expected=f"at most {MAX_TOKENS - 1} tokens", got=prompt, remedy="Say it shorter.")
        unknown = [word for word in words(prompt) if word not in self.known_words]
        if not unknown:
            return
        near = {word: get_close_matches(word, self.known_words, n=3, cutoff=0.7) for word in unknown}
        hints = "; ".join(f"for {word!r} it knows {', '.join(found)}" for word, found in near.items() if found)
        raise ScoreliftError(
            f"prompt: the embedded prior does not know {', '.join(map(repr, unknown))}."
            + (f" Near: {hints}." if hints else "")
            + " `scorelift toybox words` lists its words; --prior names another model."
        )

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        for prompt in prompts:
            self.check_prompt(prompt)
        return _condition(self.net.read(self.tokenizer.batch(prompts).to(self.device)))

    def predict_x0(self, z_t: Tensor, level: Level, condition: Condition) -> Tensor:
        self.check_size(*z_t.shape[-2:])
        text = _features(condition)
        y = z_t / level.alpha_t.to(z_t).view(-1, 1, 1, 1)
        own = text.pooled  # of the network's precision, whatever z comes in
        return self.net(y.to(own.dtype), level.sigma_ve.to(own), text).to(z_t.dtype)


class ToyboxPrior(ToyPrior):
    """Pixel diffusion at 64 x 64 (and 32 x 32) of the objects listed by `scorelift toybox words`."""

    name = "toybox"
    sizes = (64, 32)
    sigma_range = (0.02, 80.0)
    net: Pyramid

    def __init__(self, net: Pyramid, tokenizer: Tokenizer, known_words: Sequence[str], view_words: ViewWords) -> None:
        super().__init__(net, tokenizer, known_words, view_words)
        self.sighted = net.config.sight

    @torch.no_grad()
    def seen(self, condition: Condition, cameras: Cameras) -> Condition:
        if not self.sighted:
            return super().seen(condition, cameras)
        return _condition(self.net.base.see(_features(condition), cameras.numbers.to(self.device)))

    def check_size(self, height: int, width: int) -> None:
        if height != width or height not in self.sizes:
            raise bad("size", expected=" or ".join(f"{n} x {n}" for n in sorted(self.sizes)), got=f"{height} x {width}",
                      remedy=f"That is what {self.name} was trained at.")  # fmt: skip


def weights_path(name: str = WEIGHTS) -> Path:
    """Where the package keeps the embedded weights."""
    return Path(str(resources.files("scorelift.priors") / "weights" / name))


def load_toybox(path: Path | None = None, device: str | torch.device = "cpu") -> ToyboxPrior:
    """Load the embedded prior, or one that `scorelift toybox train` wrote.

    Raises:
        ScoreliftError: if the file is missing, damaged or of another kind.
    """
    remedy = "Check the path; `scorelift priors` lists what has a name."
    if path is None:
        path, remedy = weights_path(), "Train them with `scorelift toybox train`, or install again."
    tensors, about = load_weights(path, "prior", remedy, foreign=SINGLE)
    if about.get("format") != FORMAT:
        raise bad("prior", expected=f"weights of the form {FORMAT}", got=f"{path}, of the form {about.get('format')}")
    return _from_parts(tensors, about, device)


def _from_parts(tensors: dict[str, Tensor], about: dict[str, Any], device: str | torch.device) -> ToyboxPrior:
    config = from_json(about["network"], (UNetConfig, TrunkConfig))
    view_words = from_json({"type": "ViewWords", **about["view_words"]}, (ViewWords,))
    net = Pyramid(config)
    net.load_state_dict(tensors)
    return ToyboxPrior(channels_last(net.to(device)), Tokenizer(about["pieces"]), about["words"], view_words)
