"""Retrieval precision: how often an asset's renders find its own caption among distractors.

Ref: Park et al. (2021), R-Precision; Jain et al., "Dream Fields" (2022), Sec. 4; DreamFusion Sec. 4 and App. A.3.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.errors import ScoreliftError, bad
from ..toybox.accessories import ACCESSORIES
from ..toybox.grammar import parse
from ..toybox.spec import Spec
from ..toybox.toys import KINDS


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


def spec_of(caption: str) -> Spec | None:
    """What a caption says in the closed world; None of another world's."""
    try:
        return parse(caption).spec
    except ScoreliftError:
        return None


def meaning(caption: str) -> Hashable:
    """Equal for captions of the closed world that name the same object, such as "a cat" and "an orange cat"."""
    spec = spec_of(caption)
    if spec is None:
        return caption
    worn = frozenset((w.name, w.colour or ACCESSORIES[w.name].default_colour) for w in spec.worn)
    support = spec.support and (spec.support, spec.support_colour or KINDS[spec.support].natural)
    return spec.kind, spec.main_colour, spec.finish, spec.second_colour, worn, support


def shape(caption: str) -> Hashable:
    """Equal for captions of the closed world whose objects differ in colours and finish alone; else the caption."""
    spec = spec_of(caption)
    return caption if spec is None else (spec.kind, frozenset(w.name for w in spec.worn), spec.support)


def of_each_shape(captions: Iterable[str]) -> list[str]:
    """The first caption of each shape."""
    firsts: dict[Hashable, str] = {}
    for caption in captions:
        firsts.setdefault(shape(caption), caption)
    return list(firsts.values())


def candidates(captions: Sequence[str], distractors: Sequence[str]) -> tuple[list[str], list[int]]:
    """All candidate captions, the assets' own first, and the index of each asset's.

    Distractors that mean the same as an asset's caption are left out.

    Raises:
        ScoreliftError: for fewer than two candidates, or a distractor given twice.
    """
    own = list(dict.fromkeys(captions))
    said = {meaning(text) for text in own}
    others = [text for text in distractors if meaning(text) not in said]
    if len(set(distractors)) < len(distractors):
        twice = next(text for text in distractors if list(distractors).count(text) > 1)
        raise bad("distractors", expected="captions that differ", got=f"{twice!r} more than once")
    if len(own) + len(others) < 2:
        raise bad("captions", expected="at least two to choose from", got=len(own) + len(others))
    return own + others, [own.index(text) for text in captions]


def interval(
    values: Sequence[float] | Tensor, clusters: Sequence[Hashable] | None = None, *, draws: int = 2000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean and a 95 % bootstrap interval.

    Args:
        clusters: what each value belongs to, such as its prompt: values that belong together are drawn together. None:
            each stands alone.

    Ref: Field and Welsh, "Bootstrapping clustered data" (2007).
    """
    data = torch.as_tensor(values, dtype=torch.float64)
    names = list(range(len(data)) if clusters is None else clusters)
    place = {name: i for i, name in enumerate(dict.fromkeys(names))}
    index = torch.tensor([place[name] for name in names])
    total = torch.zeros(len(place), dtype=torch.float64).index_add(0, index, data)
    drawn = torch.randint(len(place), (draws, len(place)), generator=torch.Generator().manual_seed(seed))
    means = total[drawn].sum(1) / index.bincount()[drawn].sum(1)
    low, high = means.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return float(data.mean()), low, high


def summary(values: Sequence[float], clusters: Sequence[Hashable] | None = None) -> dict[str, float] | None:
    """Mean, 95 % interval and the number `n` of clusters it is over, for a table; None of no values."""
    if not values:
        return None
    mean, low, high = interval(values, clusters)
    n = len(values if clusters is None else set(clusters))
    return {"mean": round(mean, 4), "low": round(low, 4), "high": round(high, 4), "n": n}
