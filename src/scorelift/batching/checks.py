"""Everything that can be wrong with a batch, told before any of it starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..core.config import leaves, option_of
from ..core.errors import ScoreliftError, bad, check_seed
from ..core.locks import is_empty
from ..engine.checks import check_asked, check_chain, small
from ..engine.run import Run
from ..priors.base import Prior
from ..priors.registry import check_there, load_prior
from ..recipes import Recipe
from .orders import Complaint, Order, Settings


def check_settings(settings: Settings) -> None:
    """Raise for what is wrong with every line, so that it is told once."""
    if settings.steps is not None:
        settings.recipe.with_steps(settings.steps)
    if settings.prior is not None:
        check_there(settings.prior)
    if settings.seed is not None:
        check_seed(settings.seed)


def check_orders(orders: Sequence[Order], complaints: Sequence[Complaint] = ()) -> None:
    """Raise if anything is wrong with any run, with a line for each.

    Args:
        complaints: what is known to be wrong already.

    Raises:
        ScoreliftError: with where each was asked for, and what is wrong.
    """
    priors: dict[str, Prior | ScoreliftError | None] = {}
    found = list(complaints)
    owner: dict[str, Order] = {}
    for order in orders:
        try:
            other = owner.setdefault(str(order.folder), order)
            if other is not order:
                raise bad("out", expected="a folder of its own", got=f"{order.folder}, the folder of {other.where}",
                          remedy='Leave the line out, or give it another seed or "out".')  # fmt: skip
            _check(order, priors)
        except ScoreliftError as error:
            found.append(Complaint(order.where, str(error)))
    if found:
        places = sorted({str(complaint): complaint for complaint in found}.values(), key=_place)
        raise ScoreliftError("nothing was started, for these cannot be run:\n" + "\n".join(f"  {c}" for c in places))


def _place(complaint: Complaint) -> int:
    return int(complaint.where.split()[-1])


def _check(order: Order, priors: dict[str, Prior | ScoreliftError | None]) -> None:
    plan = order.plan
    _prior(plan.prior, priors)
    check_chain(plan)
    for name, stage in plan.stages().items():
        prior = _prior(stage.prior or plan.prior, priors)
        if prior is not None:
            prior.check_prompt(order.prompt)
            check_asked(prior, name, stage)
    check_folder_of(order)


def _prior(name: str, priors: dict[str, Prior | ScoreliftError | None]) -> Prior | None:
    """A small prior, that can be asked about prompts; None for a large one, of which only its being there is checked.

    Raises:
        ScoreliftError: if it is unknown, damaged or not on this machine.
    """
    if name not in priors:
        try:
            check_there(name)
            priors[name] = load_prior(name) if small(name) else None
        except ScoreliftError as error:
            priors[name] = error
    found = priors[name]
    if isinstance(found, ScoreliftError):
        raise found
    return found


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
