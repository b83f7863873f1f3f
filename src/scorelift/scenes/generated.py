"""Pictures through a given generator: what is optimized is its input.

Ref: SJC Sec. 4.1: "x = f(theta)" for any differentiable f, a generative network among them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

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
        self._home = codes.device  # where the generator is
        if isinstance(generator, nn.Module):
            generator.requires_grad_(False)
        with torch.no_grad():
            shape = tuple(generator(self.codes).shape)
        if len(shape) != 4 or shape[:2] != (len(codes), 3):
            raise bad("generator", expected=f"pictures of shape ({len(codes)}, 3, h, w)", got=shape)
        self.resolution = shape[-1]

    def groups(self, rate: float) -> list[dict]:
        return [{"params": [self.codes], "lr": rate}]

    def picture(self, size: int) -> Float[Tensor, "n 3 size size"]:
        return resized(self._generator[0](self.codes.to(self._home)).to(self.codes.device), size)


def load_generator(name: str, pictures: int) -> Generated:
    """The pictures of a generator that is named `module:function`; the function gives it and `pictures` codes.

    Raises:
        ScoreliftError: if there is no such function, or what it gives is not a generator of so many pictures.
    """
    module, _, function = name.partition(":")
    where = "Modules are looked for in the current folder and where Python finds its own."
    try:
        make = getattr(import_module(module), function)
    except (ImportError, ValueError, AttributeError) as error:
        raise bad("generator", expected="module:function", got=f"{name} ({error})", remedy=where) from error
    made = make(pictures) if callable(make) else make
    if not (isinstance(made, tuple) and len(made) == 2 and callable(made[0]) and isinstance(made[1], Tensor)):
        raise bad("generator", expected="a function that gives a generator and codes", got=f"{name}: {made!r}")
    if len(made[1]) != pictures:
        raise bad("generator", expected=f"{pictures} codes, as many as pictures", got=len(made[1]))
    return Generated(*made)
