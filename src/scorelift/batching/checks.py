"""Everything that can be wrong with a batch, told before any of it starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..core.config import leaves, option_of
from ..core.errors import ScoreliftError, bad, check_seed
from ..core.locks import is_empty
from ..engine.checks import check_asked, check_chain, check_stage, small
from ..engine.run import Run
from ..priors.base import Prior
from ..priors.pixels import PixelsPrior
from ..priors.registry import check_model, check_there, load_prior
from ..recipes import Recipe
from ..scenes import CanvasConfig
from .orders import Complaint, Order, Settings


def check_settings(settings: Settings) -> None:
    """Raise for what is wrong with every line, so that it is told once."""
    if settings.steps is not None:
        settings.recipe.with_steps(settings.steps)
    if settings.prior is not None:
        check_there(settings.prior)
    if settings.seed is not None:
        check_seed(settings.seed)


def check_orders(orders: Sequence[Order], complaints: Sequence[Complaint] = (), *, ranked: bool = False) -> None:
    """Raise if anything is wrong with any run, with a line for each.

    Args:
        complaints: what is known to be wrong already.
        ranked: whether the runs are to be ranked.

    Raises:
        ScoreliftError: with where each was asked for, and what is wrong.
    """
    known: dict[str, Any] = {}
    found = list(complaints)
    owner: dict[Path, Order] = {}
    for order in orders:
        owner.setdefault(order.folder, order)
    for order in orders:
        try:
            _check_own(order, owner)
            _check(order, known)
            if ranked:
                check_rankable(order.plan)
        except ScoreliftError as error:
            found.append(Complaint(order.where, str(error)))
    if found:
        places = sorted({str(complaint): complaint for complaint in found}.values(), key=_place)
        raise ScoreliftError("nothing was started, for these cannot be run:\n" + "\n".join(f"  {c}" for c in places))


def _place(complaint: Complaint) -> int:
    return int(complaint.where.split()[-1])


def _check_own(order: Order, owner: dict[Path, Order]) -> None:
    """Raise if a run's folder is another's as well, or within another's."""
    place, other = "the folder of", owner[order.folder]
    if other is order:
        place, other = "within that of", next((owner[path] for path in order.folder.parents if path in owner), order)
    if other is not order:
        raise bad("out", expected="a folder of its own", got=f"{order.folder}, {place} {other.where}",
                  remedy='Leave the line out, or give it another seed or "out".')  # fmt: skip


def _check(order: Order, known: dict[str, Any]) -> None:
    plan = order.plan
    check_model(plan.model, plan.prior, *(stage.prior for stage in plan.stages().values()))
    _prior(plan.prior, known)
    check_chain(plan)
    for name, stage in plan.stages().items():
        _once(known, repr((name, stage.scene, stage.guide)), partial(check_stage, name, stage))
        prior = _prior(stage.prior or plan.prior, known)
        if prior is not None:
            prior.check_prompt(order.prompt)
            check_asked(prior, name, stage)
    check_folder_of(order)


def _once(known: dict[str, Any], key: str, check: Callable[[], Any]) -> Any:
    """What a check gives or complains of, which is asked once a batch."""
    if key not in known:
        try:
            known[key] = check()
        except ScoreliftError as error:
            known[key] = error
    if isinstance(known[key], ScoreliftError):
        raise known[key]
    return known[key]


def _prior(name: str, known: dict[str, Any]) -> Prior | None:
    """A small prior, that can be asked about prompts; None for a large one, of which only its being there is checked.

    Raises:
        ScoreliftError: if it is unknown, damaged or not on this machine.
    """

    def found() -> Prior | None:
        check_there(name)
        return load_prior(name) if small(name) else None

    return _once(known, f"prior {name}", found)


def check_rankable(plan: Recipe) -> None:
    """Raise for a recipe whose runs no prior can rank."""
    if isinstance(list(plan.stages().values())[-1].scene, CanvasConfig):
        raise bad("rank", expected="a 3-D recipe", got=f"{plan.name}, which makes flat pictures",
                  remedy="Leave out --rank.")  # fmt: skip
    if plan.prior == PixelsPrior.name:
        raise bad("rank", expected="a prior that knows pictures", got=plan.prior,
                  remedy="Leave out --rank; `scorelift rank --prior` asks another.")  # fmt: skip


def check_folder_of(order: Order) -> None:
    """Raise if the folder holds anything but this very run, finished or begun."""
    folder = order.folder
    if not folder.exists() or (folder.is_dir() and is_empty(folder)):
        return
    if not (folder / "config.json").exists():
        raise bad("out", expected="a new or empty folder", got=f"{folder}, which holds other files",
                  remedy="Choose another --out.")  # fmt: skip
    run = Run.open(folder)
    if run.prompt != order.prompt:
        raise bad("prompt", expected=f"the prompt of the run in {folder}, {run.prompt!r}", got=order.prompt)
    for name, begun, wanted in differences(run.recipe, order.plan):
        raise bad(option_of(name), expected=f"{begun}, with which the run in {folder} was begun", got=wanted,
                  remedy="Choose another --out.")  # fmt: skip


def differences(begun: Recipe, wanted: Recipe) -> Iterator[tuple[str, object, object]]:
    """Names and values of what differs between two recipes; latents are left out, which a prior sets."""
    first, second = leaves(begun), leaves(wanted)
    for name in second:
        if first.get(name) != second[name] and not name.endswith(".latent"):
            yield name, first.get(name), second[name]
