"""A step in smaller portions, for when memory runs out: the same gradient, up to rounding, in more time.

First fewer views at a time. Then, one view at a time (or one group, for a prior that sees several together), whatever
else takes memory: the prior's batch term by term, and the autoencoder's blocks and the rays of a volume in bands, which
are computed again on the way back instead of being kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..core.diffusion import Level
from ..core.lights import Shading
from ..priors.adapters import Anatomy
from ..priors.base import Condition, Prior
from ..scenes import Scene, Volume
from ..scenes.canvas import Flat
from ..scenes.fields import Rays, Sums

FEWEST, MOST = 4, 64
"""Bands at first and at last."""


@dataclass(frozen=True)
class Portions:
    """How a step is shared out."""

    slices: int = 1
    "The views are rendered, distilled and differentiated in so many parts, one after the other."
    bands: int = 0
    "0: what a view needs is kept. Else its rays come in so many bands, and what can be is computed again or in turn."

    def smaller(self, groups: int, *, rays: bool = True) -> Portions | None:
        """What to try next when memory ran out; None: nothing is left.

        Args:
            groups: parts that the views can be shared into at most.
            rays: whether the scene has rays, so that more bands help.
        """
        if self.slices < groups:
            return Portions(min(2 * self.slices, groups), self.bands)
        bands = 4 * self.bands or FEWEST
        return Portions(self.slices, bands) if bands <= (MOST if rays else FEWEST) else None

    def parts(self, views: int, group: int) -> list[Tensor]:
        """Indices of the views of each slice; views of a group stay together."""
        index, count = torch.arange(views), min(self.slices, views // group)
        return [index] if count <= 1 else [t.flatten() for t in index.view(-1, group).tensor_split(count)]

    def __str__(self) -> str:
        slices = f"in {self.slices} parts" if self.slices > 1 else "as one"
        return f"{slices}, their rays in {self.bands} bands" if self.bands else slices


def views_together(scene: Scene, prior: Prior, views: int) -> int:
    """How many of a step's views cannot be parted: a flat scene shows all its pictures at once."""
    return views if isinstance(scene, Flat) else prior.views


@contextmanager
def sparing_scene(scene: Scene, bands: int) -> Iterator[None]:
    """Within, a volume's rays come in so many bands; 0: all at once."""
    if not bands or not isinstance(scene, Volume):
        yield
        return
    with _instead(scene.field, "integrate", partial(_banded, scene.field.integrate, bands)):
        yield


@contextmanager
def sparing_prior(prior: Prior, bands: int) -> Iterator[Prior]:
    """Within, a prior takes as little memory as it can, unless there are 0 bands; gives the prior to ask."""
    if not bands:
        yield prior
        return
    with ExitStack() as stack:
        for block in _blocks(getattr(getattr(prior, "latents", None), "vae", None)):
            again = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
            stack.enter_context(_instead(block, "forward", again))
        yield TermByTerm(prior)


@contextmanager
def _instead(owner: Any, name: str, value: Callable[..., Any]) -> Iterator[None]:
    """Within, an object has another method of that name."""
    before = vars(owner).get(name)
    vars(owner)[name] = value
    try:
        yield
    finally:
        if before is None:
            del vars(owner)[name]
        else:
            vars(owner)[name] = before


def _blocks(autoencoder: Any) -> Sequence[torch.nn.Module]:
    """The residual blocks of an autoencoder's encoder, where nearly all of its memory goes."""
    encoder = getattr(autoencoder, "encoder", None)
    found = encoder.modules() if isinstance(encoder, torch.nn.Module) else ()
    return [module for module in found if type(module).__name__.startswith("Resnet")]


def _banded(integrate: Callable[[Rays, Shading], Sums], bands: int, rays: Rays, shading: Shading) -> Sums:
    """Sums of rays, band by band; each band is integrated again when its gradient is asked for."""
    names = [spec.name for spec in fields(Sums)]
    count = len(rays.origin)
    size = -(-count // bands)

    def band(start: int, _: Tensor) -> tuple[Tensor, ...]:
        given: dict[str, Any] = {spec.name: getattr(rays, spec.name) for spec in fields(Rays)}
        part: dict[str, Any] = {name: None if t is None else t[start : start + size] for name, t in given.items()}
        sums = integrate(Rays(**part), shading)
        return tuple(value for name in names if (value := getattr(sums, name)) is not None)

    # The reentrant form: fields may differentiate within (normals), which the other form does not allow. It wants an
    # input with a gradient; parameters get theirs all the same.
    trigger = torch.zeros((), requires_grad=True)
    again = partial(checkpoint, band, use_reentrant=True, preserve_rng_state=False)
    found = zip(*(again(start, trigger) for start in range(0, count, size)), strict=True)
    return Sums(**{name: torch.cat(parts) for name, parts in zip(names, found, strict=False)})  # normals may be missing


class TermByTerm(Prior):
    """A prior whose batch is denoised one row at a time, or one group of rows that it must see together."""

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        for name in Prior.__annotations__:
            setattr(self, name, getattr(prior, name))

    def __getattr__(self, name: str) -> Any:  # what only some priors have
        return getattr(vars(self)["prior"], name)

    def predict_x0(self, z_t: Tensor, level: Level, condition: Condition) -> Tensor:
        starts = range(0, len(z_t), self.views)
        rows = [slice(start, start + self.views) for start in starts]
        return torch.cat([
            self.prior.predict_x0(z_t[part], level[part], condition.pick(range(len(z_t))[part])) for part in rows
        ])  # fmt: skip

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        return self.prior.encode_prompts(prompts)

    def encode(self, rgb: Tensor) -> Tensor:
        return self.prior.encode(rgb)

    def decode(self, z: Tensor) -> Tensor:
        return self.prior.decode(z)

    @property
    def device(self) -> torch.device:
        return self.prior.device

    def anatomy(self) -> Anatomy:
        return self.prior.anatomy()
