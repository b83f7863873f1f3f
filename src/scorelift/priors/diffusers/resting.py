"""A network whose weights rest in CPU memory, and come to the card for the moment a layer needs them.

diffusers' group offloading does it, layer by layer; on CUDA the next layer's weights travel while one computes. What it
leaves out is the way back: a gradient through a layer needs weights that have left again. Within `lending`, autograd
keeps the parameter in place of its copy on the card, and has it brought once more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...core.errors import bad

Kept = Tensor | tuple[nn.Parameter, torch.Size, tuple[int, ...], int]


def able(kind: Any) -> bool:
    """Whether a network, or a class of them, can rest."""
    return bool(getattr(kind, "_supports_group_offloading", False))


def check_able(kind: Any) -> None:
    """Raise for a class of networks that cannot rest.

    Raises:
        ScoreliftError: if it is one.
    """
    if not able(kind):
        raise bad("model.offload", expected=f"none, for diffusers cannot offload a {kind.__name__}", got="True")


def rest(net: nn.Module, device: torch.device) -> None:
    """Let a network's weights rest in CPU memory, from wherever they are; it computes on `device`."""
    from diffusers.hooks import apply_group_offloading

    with torch.no_grad():
        apply_group_offloading(net, onload_device=device, offload_device=torch.device("cpu"),
                               offload_type="leaf_level", use_stream=device.type == "cuda")  # fmt: skip


def spared(net: nn.Module) -> int:
    """Bytes of weights that a card need not hold when they rest: all but two layers, and what is of no layer."""
    sizes, always = [], 0
    for module in net.modules():
        own = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        size = sum(t.numel() * t.element_size() for t in own)
        if next(module.children(), None) is None:
            sizes.append(size)
        else:
            always += size
    return max(sum(sizes) - 2 * max(sizes, default=0), 0)


@contextmanager
def lending(device: torch.device) -> Iterator[None]:
    """Within, gradients go back through resting networks: frozen weights are brought to `device` again for them."""

    def keep(t: Tensor) -> Kept:
        owner = t if isinstance(t, nn.Parameter) else t._base
        if isinstance(owner, nn.Parameter) and not owner.requires_grad:
            return owner, t.size(), t.stride(), int(t.storage_offset())
        return t

    def bring(kept: Kept) -> Tensor:
        if isinstance(kept, Tensor):
            return kept
        owner, size, stride, offset = kept
        return owner.data.to(device).as_strided(size, stride, offset)

    with torch.autograd.graph.saved_tensors_hooks(keep, bring):
        yield
