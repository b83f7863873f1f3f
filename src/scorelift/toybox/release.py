"""Turning a training checkpoint into the weights file that ships with the package."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..core.files import load_state, save_weights
from ..priors.base import ViewWords
from ..priors.toybox import FORMAT
from .grammar import known_words, view_phrase
from .views import AZIMUTHS, HIGH_DEG, LOW_DEG, OVERHEAD_DEG, View


def toybox_view_words() -> ViewWords:
    """The finest view phrases of the grammar."""
    return ViewWords(
        azimuths=tuple(view_phrase(View(name)) for name in AZIMUTHS),
        overhead=view_phrase(View(elevation="overhead")),
        overhead_deg=OVERHEAD_DEG,
        overhead_with_azimuth=True,
        high=view_phrase(View(elevation="high")),
        high_deg=HIGH_DEG,
        low=view_phrase(View(elevation="low")),
        low_deg=LOW_DEG,
    )


def release(checkpoint: Path, out: Path, training: dict[str, Any] | None = None, *, form: str = FORMAT) -> int:
    """Write the averaged weights of a checkpoint as one safetensors file, matrices in eight bits; returns its bytes.

    `form` says what they are weights of: the embedded prior or the refiner.
    """
    state = load_state(checkpoint)
    about = {
        "format": form,
        "network": state["network"],
        "pieces": state["pieces"],
        "words": sorted(known_words()),
        "view_words": asdict(toybox_view_words()),
        "training": {"steps": state["step"], **(training or {})},
    }
    save_weights(out, state["average"], about, bits=8)
    return out.stat().st_size
