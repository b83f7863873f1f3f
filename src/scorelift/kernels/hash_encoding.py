"""Multiresolution hash encoding: features of points, interpolated in grids from coarse to fine that share one table.

Grids stand over [-1, 1]^3. A level of resolution N has (N + 1)^3 vertices, the outermost on the bounds. Where they fit
the level's part of the table, each has a row of its own, in the order of `trilinear`; elsewhere a hash names the row,
and vertices may share one.

Two forms of the same operator: `encode_reference` in plain PyTorch, and compiled ones for single precision, on a CPU
(`hash_encoding_cpu`) and, where Triton is installed, on a GPU (`hash_encoding_triton`). `encode` chooses.

Ref: Müller et al., "Instant neural graphics primitives with a multiresolution hash encoding" (2022), Sec. 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..core.errors import bad

PRIMES = (1, 2654435761, 805459861)
"Factors of the hash, one an axis. Ref: Eq. 4."
LARGEST = 1 << 20
"Cells along an edge that single precision still tells apart."


@dataclass(frozen=True)
class HashLevels:
    """The grids of an encoding.

    >>> grids = HashLevels(levels=3, features=2, log2_rows=8, coarsest=4, finest=16)
    >>> grids.resolutions, grids.rows, grids.offsets
    ((4, 8, 16), (125, 256, 256), (0, 125, 381))
    """

    levels: int = 16
    features: int = 4
    "Features a level."
    log2_rows: int = 19
    "Logarithm of the most rows a level has in the table."
    coarsest: int = 16
    finest: int = 2048
    "Cells along an edge of the first level and of the last; those between grow by one factor."

    def __post_init__(self) -> None:
        limits = {"levels": 64, "features": 64, "log2_rows": 28, "coarsest": LARGEST, "finest": LARGEST}
        for name, most in limits.items():
            value = getattr(self, name)
            if not (isinstance(value, int) and 1 <= value <= most):
                raise bad(name, expected=f"a whole number from 1 to {most}", got=value)
        if self.finest < self.coarsest:
            raise bad("finest", expected=f"at least the coarsest resolution, {self.coarsest}", got=self.finest)

    @cached_property
    def resolutions(self) -> tuple[int, ...]:
        """Cells along an edge of each level. Ref: Eq. 2 and 3: floor(N_min b^l)."""
        growth = (math.log(self.finest) - math.log(self.coarsest)) / max(self.levels - 1, 1)
        return tuple(math.floor(self.coarsest * math.exp(growth * level) + 1e-6) for level in range(self.levels))

    @cached_property
    def dense(self) -> tuple[bool, ...]:
        """Whether each vertex of a level has a row of its own."""
        return tuple((n + 1) ** 3 <= 1 << self.log2_rows for n in self.resolutions)

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """Rows of each level."""
        return tuple(min((n + 1) ** 3, 1 << self.log2_rows) for n in self.resolutions)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """First row of each level."""
        return tuple(sum(self.rows[:level]) for level in range(self.levels))

    @property
    def total(self) -> int:
        """Rows of the whole table."""
        return sum(self.rows)

    @property
    def width(self) -> int:
        """Features of a point."""
        return self.levels * self.features

    def at(self, level: int, vertex: Int[Tensor, "*n 3"]) -> Int[Tensor, "*n"]:
        """Rows of a level's vertices in the table. Ref: Eq. 4 for those that are hashed."""
        x, y, z = vertex.unbind(-1)
        if self.dense[level]:
            side = self.resolutions[level] + 1
            return self.offsets[level] + (x * side + y) * side + z
        return self.offsets[level] + ((x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])) % self.rows[level]


def encode_reference(
    table: Float[Tensor, "rows f"], points: Float[Tensor, "n 3"], levels: HashLevels
) -> Float[Tensor, "n features"]:
    """Features of points, level after level; differentiable in table and points, as often as one likes."""
    corners = torch.tensor([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)], device=points.device)
    found = []
    for level, resolution in enumerate(levels.resolutions):
        place = ((points + 1) * (resolution / 2)).clamp(0, resolution)
        low = place.detach().floor().clamp_max(resolution - 1)
        above = place - low
        rows = levels.at(level, low.long()[:, None] + corners)
        share = torch.where(corners == 1, above[:, None], 1 - above[:, None])
        weight = share[..., 0] * share[..., 1] * share[..., 2]
        values = table.index_select(0, rows.reshape(-1)).view(len(points), 8, levels.features)
        found.append((weight[..., None] * values).sum(1))
    return torch.cat(found, -1)


class _Encode(torch.autograd.Function):
    """A compiled form: a module with `forward` and `backward`."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, points: Tensor, levels: HashLevels, form: Any) -> Tensor:
        ctx.save_for_backward(table, points)
        ctx.levels, ctx.form = levels, form
        return form.forward(table.detach().contiguous(), points.detach().contiguous(), levels)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        table, points = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        if not torch.is_grad_enabled():
            held = (t.detach().contiguous() for t in (table, points, grad))
            return *ctx.form.backward(*held, ctx.levels, wanted), None, None
        # Someone will differentiate these gradients: the reference can.
        inputs = [t for t, want in zip((table, points), wanted, strict=True) if want]
        features = encode_reference(table, points, ctx.levels)
        found = iter(torch.autograd.grad(features, inputs, grad, create_graph=True))
        return next(found) if wanted[0] else None, next(found) if wanted[1] else None, None, None


@cache
def compiled_form(device: str, dtype: torch.dtype) -> Any | None:
    """The module that encodes on such a device, if there is one."""
    if dtype != torch.float32:
        return None
    if device == "cpu":
        return import_module(".hash_encoding_cpu", __package__)
    if device == "cuda" and find_spec("triton") is not None:
        return import_module(".hash_encoding_triton", __package__)
    return None


def encode_compiled(
    table: Float[Tensor, "rows f"], points: Float[Tensor, "n 3"], levels: HashLevels, form: Any
) -> Float[Tensor, "n features"]:
    """Features of points by one compiled form; second derivatives are the reference's."""
    return _Encode.apply(table, points, levels, form)


def encode(
    table: Float[Tensor, "rows f"], points: Float[Tensor, "n 3"], levels: HashLevels
) -> Float[Tensor, "n features"]:
    """Features of points by the quickest form there is; differentiable in table and points.

    Args:
        table: one row of features a vertex, `levels.total` rows.
        points: in [-1, 1]^3; those outside have the features of the nearest point inside.

    Returns:
        the features of the coarsest level, then of the next, and so on.

    Raises:
        ScoreliftError: for a table of another size.
    """
    if table.shape != (levels.total, levels.features):
        raise bad("table", expected=f"{levels.total} rows of {levels.features} features", got=tuple(table.shape))
    form = compiled_form(table.device.type, table.dtype) if points.dtype == table.dtype else None
    if form is None:
        return encode_reference(table, points, levels)
    return encode_compiled(table, points, levels, form)
