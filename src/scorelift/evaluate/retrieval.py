"""Retrieval precision: how often an asset's renders find its own caption among distractors.

Ref: Park et al. (2021), R-Precision; Jain et al., "Dream Fields" (2022), Sec. 4; DreamFusion Sec. 4 and App. A.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.errors import ScoreliftError, bad
from ..toybox.retriever import Retriever, load_retriever


class Scorer(Protocol):
    """Embeds pictures and captions so that their products rank."""

    name: str
    size: int
    "Height and width of the pictures it takes."

    def embed_pictures(self, rgb: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Unit vectors of pictures, linear rgb in [0, 1]."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "m d"]:
        """Unit vectors of captions."""
        ...


class ToyboxScorer:
    """The project's own retriever."""

    name = "toybox"
    size = 64

    def __init__(self, net: Retriever | None = None) -> None:
        self.net = net or load_retriever()[0]

    @torch.no_grad()
    def embed_pictures(self, rgb: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        return self.net.embed_pictures(rgb)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "m d"]:
        return self.net.embed_texts(texts)


class ClipScorer:
    """Any CLIP model of transformers, by hub id or folder."""

    def __init__(self, name: str, device: str = "cpu") -> None:
        try:
            from transformers import AutoTokenizer, CLIPModel
        except ImportError as error:
            raise ScoreliftError("scorer: CLIP needs transformers. Run: pip install transformers") from error
        try:
            model: Any = CLIPModel.from_pretrained(name, use_safetensors=True)
            self.tokenizer = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise bad("scorer", expected="a CLIP model's hub id or folder", got=name, remedy=f"({error})") from error
        if len(self.tokenizer) < 3:
            raise bad("scorer", expected="a tokenizer with a vocabulary", got=f"{len(self.tokenizer)} tokens in {name}")
        self.name, self.device, self.model = name, device, model.to(device).eval()
        self.size = self.model.config.vision_config.image_size
        self.mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(1, 3, 1, 1)
        self.std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(1, 3, 1, 1)

    @torch.no_grad()
    def embed_pictures(self, rgb: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        pixels = torch.nn.functional.interpolate(rgb, (self.size, self.size), mode="bicubic", antialias=True).clamp(
            0, 1
        )
        features = self.model.get_image_features(pixel_values=((pixels - self.mean) / self.std).to(self.device))
        return torch.nn.functional.normalize(_tensor(features).float().cpu(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "m d"]:
        limit = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt")
        features = self.model.get_text_features(**tokens.to(self.device))
        return torch.nn.functional.normalize(_tensor(features).float().cpu(), dim=-1)


def _tensor(features: object) -> Tensor:
    """transformers 5 returns an output object where 4 returned a tensor."""
    return features if isinstance(features, Tensor) else features.pooler_output  # type: ignore[attr-defined]


def load_scorer(name: str, device: str = "cpu") -> Scorer:
    """The offline retriever ("toybox"), or a CLIP model by hub id or folder."""
    return ToyboxScorer() if name == "toybox" else ClipScorer(name, device)


@dataclass(frozen=True)
class Retrieval:
    """Shares of pictures whose caption is the first, or among the first ten, of all candidates."""

    r1: Float[Tensor, " n"]
    "1 or 0 for each picture."
    r10: Float[Tensor, " n"]


def retrieve(pictures: Float[Tensor, "n d"], texts: Float[Tensor, "m d"], own: Sequence[int]) -> Retrieval:
    """Rank candidates by each picture; `own[i]` is the index of picture i's caption. Ties count against it."""
    scores = pictures @ texts.T
    mine = scores[torch.arange(len(scores)), torch.tensor(own)]
    rank = (scores >= mine[:, None]).sum(1)
    return Retrieval((rank <= 1).float(), (rank <= 10).float())


def candidates(captions: Sequence[str], distractors: Sequence[str]) -> tuple[list[str], list[int]]:
    """All candidate captions, the assets' own first, and the index of each asset's.

    Raises:
        ScoreliftError: for fewer than two candidates, or a distractor given twice.
    """
    own = list(dict.fromkeys(captions))
    others = [text for text in distractors if text not in own]
    if len(set(distractors)) < len(distractors):
        twice = next(text for text in distractors if list(distractors).count(text) > 1)
        raise bad("distractors", expected="captions that differ", got=f"{twice!r} more than once")
    if len(own) + len(others) < 2:
        raise bad("captions", expected="at least two to choose from", got=len(own) + len(others))
    return own + others, [own.index(text) for text in captions]


def interval(values: Sequence[float] | Tensor, draws: int = 2000, seed: int = 0) -> tuple[float, float, float]:
    """Mean and a 95 % bootstrap interval."""
    data = torch.as_tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    means = data[torch.randint(len(data), (draws, len(data)), generator=generator)].mean(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(data.mean()), low, high
