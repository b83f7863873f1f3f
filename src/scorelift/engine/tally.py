"""Counting what a computation takes: bytes of the tensors alive at once, and operations.

It counts tensors with memory and without (device "meta") alike, so what does not fit can be counted. What libraries
take beside tensors is not seen: workspaces, and what an allocator rounds up or cannot hand out.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, no_type_check

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class Tally(TorchDispatchMode):
    """While entered, knows every tensor that operators read or write.

    Args:
        known: tensors that were there before.
    """

    def __init__(self, known: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now, self.peak = 0, 0
        "Bytes alive now, and at most since `mark`."
        self.operations = 0
        "Of matrix products and convolutions, a multiplication and an addition counting as two."
        self._alive: dict[int, weakref.ref[torch.UntypedStorage]] = {}
        for tensor in known:
            self.note(tensor)

    @no_type_check
    def note(self, tensor: Tensor) -> None:
        """Count a tensor's storage as long as it lives; once, however many tensors share it."""
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._alive:
            return
        self._alive[key] = weakref.ref(storage, partial(self._gone, key, size))
        self.now += size
        self.peak = max(self.peak, self.now)

    @no_type_check
    def _gone(self, key: int, size: int, _: object) -> None:
        del self._alive[key]
        self.now -= size

    def mark(self) -> int:
        """Begin a new peak; returns the bytes alive now."""
        self.peak = self.now
        return self.now

    @no_type_check
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        among = [args, kwargs, out]
        while among:  # this runs for every operator: no functions of our own for what is known already
            value = among.pop()
            if isinstance(value, Tensor):
                if id(value.untyped_storage()) not in self._alive:
                    self.note(value)
            elif isinstance(value, list | tuple):
                among.extend(value)
            elif isinstance(value, dict):
                among.extend(value.values())
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.operations += int(count(*args, **(kwargs or {}), out_val=out))
        return out


@contextmanager
def attention_without_maps() -> Iterator[None]:
    """Within, attention takes the memory it takes on a card: its maps are never whole. For tensors without memory."""
    own: Callable[..., Tensor] = F.scaled_dot_product_attention

    def attend(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if query.device.type != "meta":
            return own(query, key, value, *args, **kwargs)
        learning = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
        return torch.ops.aten._scaled_dot_product_efficient_attention(query, key, value, None, learning)[0]

    F.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        F.scaled_dot_product_attention = own
