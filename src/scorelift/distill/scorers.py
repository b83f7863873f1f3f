"""Models that say how well a picture fits a caption: the project's own retriever, or any CLIP.

Both are differentiable in the picture, so that they can be measured with and (Dream Fields) optimized against.
They work on the device they are loaded for, and what they return is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.errors import ScoreliftError, bad
from ..toybox.retriever import Retriever, load_retriever


@runtime_checkable
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

    def __init__(self, net: Retriever | None = None, device: str = "cpu") -> None:
        self.net = (net or load_retriever()[0]).to(device).requires_grad_(False)

    def embed_pictures(self, rgb: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        if rgb.shape[-1] != self.size:
            rgb = torch.nn.functional.interpolate(rgb, (self.size, self.size), mode="bilinear", antialias=True)
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
        if "/" not in name and not Path(name).is_dir():  # nothing that the hub could be asked for
            raise bad("scorer", expected="toybox, or a CLIP model's hub id (owner/name) or folder", got=name)
        try:
            model: Any = CLIPModel.from_pretrained(name, use_safetensors=True)
            self.tokenizer = AutoTokenizer.from_pretrained(name)
        except (OSError, ValueError) as error:
            raise bad(
                "scorer", expected="a CLIP model's hub id (owner/name) or folder", got=name, remedy=f"({error})"
            ) from error
        if len(self.tokenizer) < 3:
            raise bad("scorer", expected="a tokenizer with a vocabulary", got=f"{len(self.tokenizer)} tokens in {name}")
        self.name, self.device, self.model = name, device, model.to(device).eval().requires_grad_(False)
        self.size = self.model.config.vision_config.image_size
        self.mean = torch.tensor([0.48145466, 0.4578275, 0.40821073], device=device).view(1, 3, 1, 1)
        self.std = torch.tensor([0.26862954, 0.26130258, 0.27577711], device=device).view(1, 3, 1, 1)

    def embed_pictures(self, rgb: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        pixels = torch.nn.functional.interpolate(rgb, (self.size, self.size), mode="bicubic", antialias=True).clamp(
            0, 1
        )
        features = self.model.get_image_features(pixel_values=(pixels - self.mean) / self.std)
        return torch.nn.functional.normalize(_tensor(features).float(), dim=-1)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "m d"]:
        limit = self.model.config.text_config.max_position_embeddings
        tokens = self.tokenizer(list(texts), padding=True, truncation=True, max_length=limit, return_tensors="pt")
        features = self.model.get_text_features(**tokens.to(self.device))
        return torch.nn.functional.normalize(_tensor(features).float(), dim=-1)


def _tensor(features: object) -> Tensor:
    """transformers 5 returns an output object where 4 returned a tensor."""
    return features if isinstance(features, Tensor) else features.pooler_output  # type: ignore[attr-defined]


@cache
def load_scorer(name: str, device: str = "cpu") -> Scorer:
    """The offline retriever ("toybox"), or a CLIP model by hub id or folder; pictures must be on its device."""
    return ToyboxScorer(device=device) if name == "toybox" else ClipScorer(name, device)
