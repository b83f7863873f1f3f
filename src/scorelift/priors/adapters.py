"""Low-rank adapters on a frozen network, switched on and off: a twin that shares the network's weights.

They listen on the network's layers (forward hooks), so one mechanism serves every prior, the network itself is not
changed, and switched off they cost nothing. They compute in fp32 over a network of any precision.

Ref: Hu et al., "LoRA" (2021); on convolutions and told the camera: Wang et al., "ProlificDreamer" (2023), App. C.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

POSE = 12
"""Numbers of a camera: the upper three rows of its pose."""


@dataclass(frozen=True)
class Anatomy:
    """Where a network can be adapted."""

    layers: Sequence[nn.Module]
    "Linear and convolutional layers."
    clocks: Sequence[tuple[nn.Module, int]]
    "Modules whose output, of the given width, tells the network the noise level."


class LowRank(nn.Module):
    """up(down(x)) beside a layer; zero at first."""

    def __init__(self, layer: nn.Module, rank: int) -> None:
        super().__init__()
        if isinstance(layer, nn.Conv2d):
            self.down: nn.Module = nn.Conv2d(
                layer.in_channels, rank, layer.kernel_size, layer.stride, layer.padding, bias=False  # type: ignore[arg-type]
            )  # fmt: skip
            self.up: nn.Module = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            assert isinstance(layer, nn.Linear)
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(self.down(x))


class Adapters(nn.Module):
    """Adapters on every layer of an anatomy, and the camera on its clocks."""

    def __init__(self, anatomy: Anatomy, rank: int) -> None:
        super().__init__()
        self.rows = nn.ModuleList(LowRank(layer, rank) for layer in anatomy.layers)
        self.poses = nn.ModuleList(nn.Linear(POSE, width) for _, width in anatomy.clocks)
        for pose in self.poses:
            nn.init.zeros_(cast(Tensor, pose.weight))
            nn.init.zeros_(cast(Tensor, pose.bias))
        self.on, self.pose = False, None
        self.ears: list[Any] = []
        for layer, row in zip(anatomy.layers, self.rows, strict=True):
            self.ears.append(layer.register_forward_hook(self._beside(row)))
        for (clock, _), pose in zip(anatomy.clocks, self.poses, strict=True):
            self.ears.append(clock.register_forward_hook(self._told(pose)))

    pose: Float[Tensor, "b 12"] | None

    @contextmanager
    def listening(self, pose: Float[Tensor, "b 12"] | None) -> Iterator[None]:
        """Within, the network is the twin, seen from the cameras of its batch's rows."""
        self.on, self.pose = True, pose
        try:
            yield
        finally:
            self.on, self.pose = False, None

    def remove(self) -> None:
        """Leave the network."""
        for ear in self.ears:
            ear.remove()

    def _beside(self, row: nn.Module) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
            return output + row(inputs[0].float()).to(output.dtype) if self.on else None

        return hook

    def _told(self, linear: nn.Module) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if not self.on or self.pose is None:
                return None
            return output + linear(self.pose.to(output.device, torch.float32)).to(output.dtype)

        return hook


def attention_layers(net: nn.Module) -> list[nn.Module]:
    """Query, key, value and output layers of a diffusers network."""
    ends = ("to_q", "to_k", "to_v", "to_out.0")
    return [module for name, module in net.named_modules() if name.endswith(ends) and isinstance(module, nn.Linear)]


def block_layers(*trunks: nn.Module) -> list[nn.Module]:
    """Every linear layer and wider convolution within the embedded network's blocks."""
    found: list[nn.Module] = []
    for trunk in trunks:
        for name, module in trunk.named_modules():
            if not name.startswith(("encoder", "decoder")):
                continue
            if isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)):
                found.append(module)
    return found
