"""Retrieval precision: how often an asset's renders find its own caption among distractors.

Ref: Park et al. (2021), R-Precision; Jain et al., "Dream Fields" (2022), Sec. 4; DreamFusion Sec. 4 and App. A.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.errors import bad


@dataclass(frozen=True)
class Retrieval:
    """Shares of pictures whose caption is the first, or among the first ten, of all candidates."""

    r1: Float[Tensor, " n"]
    "1 or 0 for each picture."
    r10: Float[Tensor, " n"]
    first: Int[Tensor, " n"]
    "Index of the caption found first."


def retrieve(pictures: Float[Tensor, "n d"], texts: Float[Tensor, "m d"], own: Sequence[int]) -> Retrieval:
    """Rank candidates by each picture; `own[i]` is the index of picture i's caption. Ties count against it."""
    scores = pictures @ texts.T
    mine = scores[torch.arange(len(scores)), torch.tensor(own)]
    rank = (scores >= mine[:, None]).sum(1)
    return Retrieval((rank <= 1).float(), (rank <= 10).float(), scores.argmax(1))


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


def summary(values: Sequence[float]) -> dict[str, float] | None:
    """Mean and 95 % interval, for a table; None of no values."""
    if not values:
        return None
    mean, low, high = interval(values)
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": len(values)}
