"""Muon with AdamW beside it, in float32: half-precision iterations are slower than that on most CPUs.

Ref: Jordan et al., "Muon: an optimizer for hidden layers in neural networks" (2024).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)


def orthogonalize(matrix: Tensor, steps: int = 5) -> Tensor:
    """Roughly the nearest matrix with all singular values near 1, by five quintic Newton-Schulz iterations.

    Each iteration multiplies x by a polynomial of x x^T; all of them share its eigenvectors, so a wide x is left alone
    until the last.
    """
    a, b, c = _QUINTIC
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp_min(1e-7)
    if x.shape[1] < 3 * x.shape[0]:
        for _ in range(steps):
            gram = x @ x.mT
            x = a * x + (b * gram + c * gram @ gram) @ x
    else:
        gram = x @ x.mT
        product = one = torch.eye(len(x), dtype=x.dtype, device=x.device)
        for _ in range(steps):
            factor = a * one + b * gram + c * gram @ gram
            product, gram = factor @ product, factor @ gram @ factor
        x = product @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x


def split_parameters(module: nn.Module, *, edge: Sequence[object], muon_rate: float, adam_rate: float) -> list[dict]:
    """Optimizer groups: Muon for the hidden matrices, AdamW for vectors and for the first and last layers (`edge`)."""
    outer = {id(p) for part in edge for p in (part.parameters() if isinstance(part, nn.Module) else [part])}
    hidden = [p for p in module.parameters() if p.ndim >= 2 and id(p) not in outer]
    chosen = {id(p) for p in hidden}
    rest = [p for p in module.parameters() if id(p) not in chosen]
    return [
        {"params": hidden, "lr": muon_rate, "use_muon": True},
        {"params": rest, "lr": adam_rate, "use_muon": False},
    ]


class Muon(torch.optim.Optimizer):
    """Orthogonalized momentum for matrices (convolutions flattened), AdamW for groups with `use_muon` False."""

    def __init__(self, groups: list[dict], *, momentum: float = 0.95, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        super().__init__(groups, {"lr": 0.01, "use_muon": True, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            update = self._muon if group["use_muon"] else self._adam
            for p in group["params"]:
                if p.grad is not None:
                    update(p, p.grad, group)

    def _muon(self, p: Tensor, grad: Tensor, group: dict) -> None:
        state = self.state[p]
        if not state:
            state["momentum"] = torch.zeros_like(p)
        state["momentum"].lerp_(grad, 1 - group["momentum"])
        direction = grad.lerp(state["momentum"], group["momentum"])
        inputs_last = direction.movedim(1, -1)  # as convolutions lie in memory
        flat = inputs_last.reshape(len(p), -1)
        rows, columns = flat.shape
        step = orthogonalize(flat).view(inputs_last.shape).movedim(-1, 1)
        p.add_(step, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)

    def _adam(self, p: Tensor, grad: Tensor, group: dict) -> None:
        state, (b1, b2) = self.state[p], group["betas"]
        if not state:
            state.update(step=0, mean=torch.zeros_like(p), square=torch.zeros_like(p))
        state["step"] += 1
        state["mean"].lerp_(grad, 1 - b1)
        state["square"].lerp_(grad.square(), 1 - b2)
        mean = state["mean"] / (1 - b1 ** state["step"])
        square = state["square"] / (1 - b2 ** state["step"])
        p.add_(mean / (square.sqrt() + 1e-8), alpha=-group["lr"])
