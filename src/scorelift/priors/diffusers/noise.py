"""A checkpoint's noise schedule and what its network predicts, as its scheduler's configuration says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from ...core.diffusion import Flow, Table
from ...core.errors import ScoreliftError, bad
from .checkpoint import Checkpoint

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
LEAST = 2.0**-24
"""alpha_bar of a last step said to be pure noise ("zero terminal SNR"), as diffusers has it."""
BENDS = ("use_dynamic_shifting", "invert_sigmas", "shift_terminal")
"""What a flow schedule may do to its levels beside its shift; models that need it are none of the kinds here."""


@dataclass(frozen=True)
class Noise:
    """The levels a network was trained at, and what it predicts there."""

    schedule: Table | Flow
    prediction: Prediction
    steps: int
    "By which a time in [0, 1] is multiplied where the network is told it."


def read_noise(checkpoint: Checkpoint) -> Noise:
    """Schedule and prediction.

    Raises:
        ScoreliftError: for a scheduler that is not understood.
    """
    import diffusers

    entry, config = checkpoint.names("scheduler"), checkpoint.config("scheduler")
    name = entry[1] if entry else "none"
    if name.startswith("FlowMatch"):
        return _flow(name, config)
    kind = getattr(diffusers, name, None)
    with checkpoint.explained("scheduler"):
        scheduler = kind.from_config(config) if kind is not None else None
    if scheduler is None or not hasattr(scheduler, "alphas_cumprod"):
        raise ScoreliftError(f"prior: its scheduler, {name}, has no table of noise levels that we understand.")
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise bad("prior", expected="prediction_type epsilon, v_prediction or sample", got=prediction)
    levels = scheduler.alphas_cumprod.double().clamp_min(LEAST).tolist()
    return Noise(Table(tuple(levels)), cast(Prediction, prediction), len(levels))


def _flow(name: str, config: dict[str, Any]) -> Noise:
    if found := [f"{bend} {config[bend]}" for bend in BENDS if config.get(bend)]:
        raise bad("prior", expected="a flow schedule with a fixed shift alone", got=f"{name} with {', '.join(found)}")
    steps, shift = config.get("num_train_timesteps", 1000), config.get("shift", 1.0)
    if not all(isinstance(number, int | float) and number > 0 for number in (steps, shift)):
        raise bad("prior", expected="num_train_timesteps and shift above 0", got=f"{name} with {steps} and {shift}")
    return Noise(Flow(float(shift)), "flow", int(steps))
