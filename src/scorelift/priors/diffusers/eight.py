"""Text encoders in eight bits: a quarter of the memory of fp32, on any device, for a few percent of error."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Eight(nn.Module):
    """A linear layer whose weight is kept as whole numbers in [-127, 127], each row of them with a scale.

    Args:
        layer: the layer as it was; its bias stays.
        dtype: what it computes in, with the weight as it was but for rounding.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, layer: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype, self.bias = dtype, layer.bias
        rows = layer.weight.detach().float()
        scale = rows.abs().amax(1, keepdim=True).clamp_min(1e-30) / 127
        self.register_buffer("weight", (rows / scale).round().to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        return F.linear(x.to(self.dtype), (self.weight * self.scale).to(self.dtype), self.bias)


def shrink(net: nn.Module, dtype: torch.dtype) -> None:
    """Keep the weights of a network's linear layers in eight bits; what else it has, and their work, in `dtype`.

    Layers of another precision than the network's, as the transformers library has some in fp32, compute in theirs.
    """
    own = next(p.dtype for p in net.parameters())
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Eight(child, dtype if child.weight.dtype == own else child.weight.dtype))
    if dtype != own:
        net.to(dtype)
