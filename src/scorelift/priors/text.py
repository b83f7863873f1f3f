"""The embedded prior's reading of a prompt: sub-word pieces, a small transformer over them, and a sketch.

The sketch is what the caption alone says of the picture, the limit of infinite noise. The text encoder learns it before
there is a U-Net, hundreds of pictures a second, because a diffusion loss teaches view and shape slowly: most of it is
about other things. The U-Net is then given the sketch to start from.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.words import words

MAX_TOKENS = 32
PAD, END = 0, 1
_START = "_"
SKETCH_SIZE = 16


class Tokenizer:
    """Greedy longest-match sub-word pieces; a piece that begins a word begins with `_`.

    Ref: Wu et al., "Google's neural machine translation system" (2016), wordpiece; pieces learned by byte-pair merges
    as in Sennrich et al. (2016).
    """

    def __init__(self, pieces: Sequence[str]) -> None:
        self.pieces = list(pieces)
        self.index = {piece: i + 2 for i, piece in enumerate(self.pieces)}
        self.longest = max(map(len, self.pieces))

    def __len__(self) -> int:
        return len(self.pieces) + 2

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt, ending in END, at most MAX_TOKENS; characters no piece covers are skipped."""
        ids: list[int] = []
        for word in words(text):
            rest = _START + word
            while rest:
                for n in range(min(len(rest), self.longest), 0, -1):
                    if (token := self.index.get(rest[:n])) is not None:
                        ids.append(token)
                        break
                rest = rest[n:]
        return [*ids[: MAX_TOKENS - 1], END]

    def batch(self, texts: Iterable[str]) -> Int[Tensor, "b length"]:
        """Padded token ids of several prompts."""
        rows = [self.encode(text) for text in texts]
        width = max(map(len, rows))
        return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])

    @staticmethod
    def learn(texts: Iterable[str], size: int) -> Tokenizer:
        """Learn `size` pieces from captions: all characters, then the most frequent merges."""
        counts = Counter(word for text in texts for word in words(text))
        split = {word: [_START, *word] for word in counts}
        pieces = sorted({piece for parts in split.values() for piece in parts})
        while len(pieces) < size:
            pairs: Counter[tuple[str, str]] = Counter()
            for word, parts in split.items():
                for pair in pairwise(parts):
                    pairs[pair] += counts[word]
            if not pairs:
                break
            (left, right), _ = max(pairs.items(), key=lambda item: (item[1], item[0]))
            pieces.append(left + right)
            for word, parts in split.items():
                split[word] = _merge(parts, left, right)
        return Tokenizer(pieces)


def _merge(parts: list[str], left: str, right: str) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and merged[-1] == left and part == right:
            merged[-1] = left + right
        else:
            merged.append(part)
    return merged


class TextEncoder(nn.Module):
    """Token ids to one feature vector a token and one for the whole prompt (pre-norm transformer)."""

    def __init__(self, vocabulary: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, dim)
        self.place = nn.Parameter(0.02 * torch.randn(MAX_TOKENS, dim))
        layer = nn.TransformerEncoderLayer(
            dim, heads, 4 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(dim)
        nn.init.normal_(self.token.weight, std=0.5)

    def forward(
        self, ids: Int[Tensor, "b length"]
    ) -> tuple[Float[Tensor, "b length dim"], Float[Tensor, "b dim"], Bool[Tensor, "b length"]]:
        """Features of the tokens, their mean, and which tokens are padding."""
        padding = ids == PAD
        x = self.token(ids) + self.place[: ids.shape[1]]
        x = self.norm(self.layers(x, src_key_padding_mask=padding))
        keep = (~padding).unsqueeze(-1).to(x.dtype)
        return x, (x * keep).sum(1) / keep.sum(1), padding


class Sketch(nn.Module):
    """Pooled features of captions to small pictures without background: colours times coverage, and coverage."""

    def __init__(self, dim: int, hidden: int = 224) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(dim, hidden), nn.Linear(hidden, 4 * SKETCH_SIZE**2)

    def forward(self, pooled: Float[Tensor, "b dim"]) -> Float[Tensor, "b 4 16 16"]:
        return self.out(F.silu(self.hidden(pooled))).view(-1, 4, SKETCH_SIZE, SKETCH_SIZE)
