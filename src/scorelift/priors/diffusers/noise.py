"""A checkpoint's noise schedule and what its network predicts, as its scheduler's configuration says."""

from __future__ import annotations

from typing import Literal, cast

from ...core.diffusion import Flow, Table
from ...core.errors import ScoreliftError, bad
from .checkpoint import Checkpoint

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
LEAST = 2.0**-24
"""alpha_bar of a last step said to be pure noise ("zero terminal SNR"), as diffusers has it."""


def read_noise(checkpoint: Checkpoint) -> tuple[Table | Flow, Prediction]:
    """Schedule and prediction.

    Raises:
        ScoreliftError: for a scheduler that is not understood.
    """
    import diffusers

    entry, config = checkpoint.names("scheduler"), checkpoint.config("scheduler")
    name = entry[1] if entry else "none"
    if name.startswith("FlowMatch"):
        if config.get("use_dynamic_shifting"):
            raise bad("prior", expected="a flow schedule with a fixed shift", got=f"{name} with use_dynamic_shifting")
        return Flow(float(config.get("shift", 1.0))), "flow"
    kind = getattr(diffusers, name, None)
    scheduler = kind.from_config(config) if kind is not None else None
    if scheduler is None or not hasattr(scheduler, "alphas_cumprod"):
        raise ScoreliftError(f"prior: its scheduler, {name}, has no table of noise levels that we understand.")
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise bad("prior", expected="prediction_type epsilon, v_prediction or sample", got=prediction)
    levels = scheduler.alphas_cumprod.double().clamp_min(LEAST).tolist()
    return Table(tuple(levels)), cast(Prediction, prediction)
