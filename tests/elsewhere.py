"""A second device that every machine has, for tests: numbers lie on the CPU, but a mixture of devices is an error.

It knows no double precision, as Apple's GPUs know none.

Code that runs on a GPU fails there when it forgets to move a tensor. Within `elsewhere()`, tensors on the device `AWAY`
are wrapped: each operator runs on the CPU, after a check that none of its tensors, but single numbers, is left at home.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

AWAY = "meta"
"The name it goes by: torch knows this one everywhere, and lets gradients pass."
_aten = torch.ops.aten
MOVES = (_aten._to_copy.default, _aten.copy_.default)
INDEXING = (_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default, _aten._index_put_impl_.default)
"Operators whose indices, the second argument, may be at home."


class Wrapped(torch.Tensor):
    """A tensor that says it is away."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Wrapped:
        if held.dtype == torch.float64:
            raise TypeError("this device knows no float64, as Apple's GPUs do not")
        made = torch.Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=AWAY
        )
        made.held = held
        return made

    def __init__(self, held: torch.Tensor) -> None:
        pass

    @classmethod
    def __torch_dispatch__(cls, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(operator, args, kwargs or {})


def run(operator: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operator on tensors that may be away.

    Raises:
        RuntimeError: if some are and some are not.
    """
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    away, asked = any(isinstance(t, Wrapped) for t in tensors), kwargs.get("device")
    bound = tree_leaves((args[0], args[2:]) if operator in INDEXING else (args, kwargs))
    home = [t for t in bound if isinstance(t, torch.Tensor) and not isinstance(t, Wrapped) and t.dim() > 0]
    if away and home and operator not in MOVES:
        raise RuntimeError(f"tensors on two devices: {operator}, {tuple(home[0].shape)} at home")
    if asked is not None:
        away, kwargs = torch.device(asked).type == AWAY, {**kwargs, "device": "cpu"}
    held = tree_map(lambda t: t.held if isinstance(t, Wrapped) else t, (args, kwargs))
    out = operator(*held[0], **held[1])
    if operator._schema.is_mutable and tensors and any(out is t for t in tree_leaves(held)):
        return next(t for t in tensors if (t.held if isinstance(t, Wrapped) else t) is out)
    return tree_map(lambda t: Wrapped(t) if isinstance(t, torch.Tensor) else t, out) if away else out


def _alike(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """A tensor of other numbers, a parameter where the old one is."""
    if isinstance(old, torch.nn.Parameter):
        return torch.nn.Parameter(new, requires_grad=old.requires_grad)
    return new.detach()


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(operator, args, kwargs or {})


class _Literals(TorchFunctionMode):
    """Numbers in lists, which no operator is called for on their way to a device."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function in (torch.tensor, torch.as_tensor) and torch.device(kwargs.get("device") or "cpu").type == AWAY:
            return function(*args, **{**kwargs, "device": None}).to(AWAY)
        if function is torch.Tensor.tolist and isinstance(args[0], Wrapped):
            return args[0].held.tolist()
        if function is torch.Tensor.new_tensor and isinstance(args[0], Wrapped):
            return torch.tensor(*args[1:], **{"dtype": args[0].dtype, **kwargs}).to(AWAY)
        if function == torch.Tensor.data.__set__ and isinstance(args[0], Wrapped) != isinstance(args[1], Wrapped):
            torch.utils.swap_tensors(args[0], _alike(args[0], args[1]))  # which a GPU's tensors need not
            return None
        if function in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            places = args[1] if isinstance(args[1], tuple) else (args[1],)
            places = tuple(torch.tensor(p) if isinstance(p, list | tuple | range) else p for p in places)
            args = (args[0], places, *args[2:])
        return function(*args, **kwargs)


@contextmanager
def elsewhere() -> Iterator[None]:
    """Within, the device `AWAY` holds numbers."""
    fused = "torch.optim.optimizer._get_fused_kernels_supported_devices"
    doubles = "scorelift.core.precision.WITHOUT_DOUBLES"
    known = mock.patch("torch.get_device_module", return_value=torch.cpu)
    with mock.patch(fused, return_value=[AWAY, "cpu"]), mock.patch(doubles, {AWAY}), known, _Mode(), _Literals():
        yield
