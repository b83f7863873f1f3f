"""Distributed Shampoo of a library, with a state that can be saved."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from pytorch_optimizer.optimizer.shampoo import LayerWiseGrafting, ScalableShampoo
from torch import Tensor

__all__ = ["LayerWiseGrafting", "SafeShampoo"]


class SafeShampoo(ScalableShampoo):
    """ScalableShampoo whose state is tensors and numbers only, so that it can be saved without pickle."""

    def step(self, closure: Any = None) -> Any:
        """One step, whose random numbers (the library begins power iterations with some) are the step's own: a resumed
        run has those of an uninterrupted one.
        """
        devices = {p.device for p in self._parameters() if p.is_cuda}
        with torch.random.fork_rng(list(devices)):
            torch.manual_seed(self.param_groups[0].get("step", 0))
            return super().step(closure)

    def state_dict(self) -> dict[str, Any]:
        """Tensors of each parameter that was stepped, by its index, and the groups."""
        state = {
            i: {
                "momentum": held["momentum"],
                "graft": held["graft"].momentum,
                "statistics": held["pre_conditioner"].statistics,
                "roots": held["pre_conditioner"].pre_conditioners,
            }
            for i, p in enumerate(self._parameters())
            if (held := self.state.get(p))
        }
        groups = [{key: value for key, value in group.items() if key != "params"} for group in self.param_groups]
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from `state_dict()`."""
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            group.update(saved)
        parameters = list(self._parameters())
        for i, saved in state_dict["state"].items():
            p = parameters[int(i)]
            gradient, p.grad = p.grad, torch.zeros_like(p)
            for group in self.param_groups:
                if any(q is p for q in group["params"]):
                    self.init_group({**group, "params": [p]})
            p.grad = gradient
            held = self.state[p]
            held["momentum"].copy_(saved["momentum"])
            held["graft"].momentum.copy_(saved["graft"])
            held["pre_conditioner"].statistics = _like(held["pre_conditioner"].statistics, saved["statistics"])
            held["pre_conditioner"].pre_conditioners = _like(held["pre_conditioner"].pre_conditioners, saved["roots"])

    def _parameters(self) -> Iterator[Tensor]:
        for group in self.param_groups:
            yield from group["params"]


def _like(current: Any, saved: Any) -> Any:
    """Saved tensors (one, or a list) on the device of the current ones."""
    if isinstance(saved, Tensor):
        return saved.clone().to(current)
    return [one.clone().to(old) for one, old in zip(saved, current, strict=True)]
