"""Pictures through a given generator: what is optimized is its input.

Ref: SJC Sec. 4.1: "x = f(theta)" for any differentiable f, a generative network among them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..core.errors import bad
from .canvas import Flat, resized


class Generated(Flat):
    """`generator` turns codes (n ...) into linear rgb (n 3 h w) in [0, 1]; its own weights stay as they are.

    Raises:
        ScoreliftError: if it gives something else.
    """

    def __init__(self, generator: Callable[[Tensor], Tensor], codes: Float[Tensor, "n ..."]) -> None:
        super().__init__()
        self.codes = nn.Parameter(codes.detach().clone())
        self._generator = [generator]  # in a list, so that a module's weights are not the scene's
        if isinstance(generator, nn.Module):
            generator.requires_grad_(False)
        with torch.no_grad():
            shape = tuple(generator(self.codes).shape)
        if len(shape) != 4 or shape[:2] != (len(codes), 3):
            raise bad("generator", expected=f"pictures of shape ({len(codes)}, 3, h, w)", got=shape)

    def groups(self, rate: float) -> list[dict]:
        return [{"params": [self.codes], "lr": rate}]

    def picture(self, size: int) -> Float[Tensor, "n 3 size size"]:
        return resized(self._generator[0](self.codes), size)
