"""Files of weights by variant: which belong together, and which of them are taken."""

from __future__ import annotations

import re
from collections.abc import Iterable

SAFE = ".safetensors"
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
PLAIN, HALF = "", "fp16"
STEMS = ("diffusion_pytorch_model", "model")
"How diffusers and transformers name weights; what else lies beside them is not theirs."
SHARD = re.compile(r"-\d+-of-(\d+)")


def variant_of(name: str) -> str:
    """The variant that a file of weights, or an index of shards, is of; "" where its name has none.

    >>> variant_of("model-00001-of-00002.safetensors"), variant_of("diffusion_pytorch_model.non_ema.safetensors")
    ('', 'non_ema')
    >>> variant_of("model.fp16-00001-of-00002.safetensors"), variant_of("model.safetensors.index.fp16.json")
    ('fp16', 'fp16')
    """
    parts = SHARD.sub("", name).replace(SAFE, "").split(".")[1:]
    return ".".join(part for part in parts if part not in ("index", "json"))


def whole_variants(names: Iterable[str]) -> dict[str, list[str]]:
    """The weights in one folder, by variant, with the indexes of their shards; without those that lack a shard."""
    files = [name for name in sorted(names) if name.endswith(SAFE) or (f"{SAFE}." in name and name.endswith(".json"))]
    usual = [name for name in files if SHARD.sub("", name).split(".")[0] in STEMS]
    found: dict[str, list[str]] = {}
    for name in usual or files:
        found.setdefault(variant_of(name), []).append(name)
    return {variant: there for variant, there in found.items() if _whole(there)}


def pick(variants: Iterable[str], first: str = PLAIN) -> str | None:
    """The variant to take: `first`, else the plain one, else fp16, else any; None if there is none.

    >>> pick(["bf16", "fp16"]), pick(["", "fp16"]), pick(["", "fp16"], "fp16")
    ('fp16', '', 'fp16')
    """
    return min(variants, key=lambda v: (v != first, v != PLAIN, v != HALF, v), default=None)


def _whole(names: list[str]) -> bool:
    """Whether weights are in one file, or in as many as their names count."""
    safe = [name for name in names if name.endswith(SAFE)]
    counts = [int(shard[1]) for name in safe if (shard := SHARD.search(name))]
    return len(counts) == counts[0] if counts else bool(safe)
