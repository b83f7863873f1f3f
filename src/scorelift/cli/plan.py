"""The command that counts what a run needs before it starts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import AvoidSubcommands

from .options import FLAT, call
from .runs import peek, recipe_name

if TYPE_CHECKING:
    from ..engine.plan import StagePlan

NOTE = """

GiB of tensors. Prior: its weights. Scene: with its optimizer and what a render keeps. Work: of the prior, encoding and
denoising. Peak: most at once, as the recipe is. At least: the same in the smallest portions a step is taken in when
memory runs out. Reading: while a new prompt is read. A card should have a tenth more, and 0.6 GiB for the process, by
rule of thumb. Operations are those of the prior (P: 10^15). Time is a lower bound: those operations at the speed of
large matrix products, which a card seldom reaches; rendering comes on top."""


def plan(argv: Sequence[str]) -> None:
    """Count what a run will need of a GPU: memory and operations of each stage."""
    from ..recipes import find_recipe

    default = find_recipe(recipe_name(argv), peek(argv, "--preset"))

    def command(
        *,
        recipe: str = "quick",
        preset: str | None = None,
        vram: float | None = None,
        tflops: float | None = None,
        settings: Annotated[Any, FLAT] = default,
    ) -> None:
        """Count what a run will need of a GPU: memory and operations of each stage.

        No GPU is needed. The prior must be on this machine, though of its weights no more than sizes are read.

        Args:
            recipe: Method; `scorelift recipes` lists them.
            preset: A variant of the recipe.
            vram: GiB of the card; default what is free of the one at hand.
            tflops: What the card computes, in 10^12 operations a second; default measured on the one at hand.
            settings: Every field of the recipe.
        """
        from ..core.errors import check_positive
        from ..engine.plan import free_of, gib, shortage
        from ..engine.plan import plan as planned
        from ..priors.registry import check_model

        check_model(settings.model, settings.prior, *(stage.prior for stage in settings.stages().values()))
        for name, value in (("vram", vram), ("tflops", tflops)):
            if value is not None:
                check_positive(name, value)
        stages = planned(settings)
        print(table(stages, _speed(settings.model.precision) if tflops is None else tflops * 1e12))
        free = free_of(vram)
        if free is not None:
            print(shortage(stages, settings, free) or f"It should fit: {gib(free)} are free.")

    command.__annotations__["settings"] = Annotated[type(default), FLAT, AvoidSubcommands]
    call(command, argv, "scorelift plan")


def table(stages: Sequence[StagePlan], speed: float | None = None) -> str:
    """The plan for people: GiB of tensors, and 10^15 operations of the prior.

    Args:
        speed: operations a second of the card; with it, the time they take at least.
    """
    head = (
        f"{'stage':<10}{'prior':>9}{'scene':>9}{'work':>9}{'peak':>9}{'at least':>10}{'reading':>9}{'operations':>12}"
    )
    lines = [head + ("  time, at least" if speed else "")]
    for stage in stages:
        need, total = stage.whole, stage.whole.operations * stage.stage.steps
        sizes = (need.weights, need.scene, need.prior, need.peak)
        row = f"{stage.name:<10}" + "".join(f"{size / 2**30:9.2f}" for size in sizes)
        row += f"{stage.least.peak / 2**30:10.2f}{need.reading / 2**30:9.2f}{total / 1e15:10.3g} P"
        lines.append(row + (f"  {total / speed / 60:.3g} min" if speed else ""))
    return "\n".join(lines) + NOTE


def _speed(precision: str, size: int = 8192, times: int = 10) -> float | None:
    """Operations a second of matrix products in a precision on the card at hand; None where there is none."""
    import torch

    if not torch.cuda.is_available():
        return None
    a = torch.ones(size, size, device="cuda", dtype=torch.float32 if precision == "fp32" else torch.float16)
    for count in (3, times):  # the first to warm up
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(count):
            a @ a
        torch.cuda.synchronize()
    return 2 * size**3 * times / (time.perf_counter() - begun)
