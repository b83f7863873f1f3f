"""Commands that train what knows the closed world: the priors, and what reads their pictures."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from ..core.errors import bad, check_at_least, check_positive, check_seed
from .options import FLAT

if TYPE_CHECKING:
    from ..toybox.training import Training


def toybox_train(
    *, pictures: Path, out: Path, device: Literal["auto", "cpu", "cuda", "mps"] = "auto", steps: int | None = None,
    save_every: float = 300, start: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
    fresh_unet: bool = False, settings: Annotated[Any, FLAT] = None,
) -> None:  # fmt: skip
    """Train the embedded prior; continues from the folder's checkpoint if there is one.

    Args:
        pictures: Folder of shards from `scorelift toybox render`.
        out: Folder of the checkpoint, log and final weights.
        device: Where to compute.
        steps: Stop after so many steps; default: to the end of the plan.
        save_every: Seconds between checkpoints.
        start: Weights to train further; leave out stages with `--text-pictures 0` and the like.
        fresh_unet: Take of those weights all but the U-Net, which begins from nothing at today's sizes.
        settings: Every field of the training configuration.
    """
    from ..engine.generate import pick_device
    from ..priors.toybox import FORMAT, load_toybox
    from ..toybox.data import Pictures
    from ..toybox.train import Trainer

    _check(settings.seed, out, steps, save_every)
    if fresh_unet and start is None:
        raise bad("fresh_unet", expected="weights to take the rest from (--from)", got="none")
    begin = load_toybox(start) if start else None
    trainer = Trainer(settings, Pictures(pictures), out, device=pick_device(device), start=begin, fresh_unet=fresh_unet)
    if start and trainer.checkpoint.exists():
        print(f"{trainer.checkpoint} is continued; {start} is not begun with again")
    _train(trainer, out / "toybox.safetensors", FORMAT, steps, save_every)


def toybox_refiner(
    *, pictures: Path, out: Path, device: Literal["auto", "cpu", "cuda", "mps"] = "auto", steps: int | None = None,
    save_every: float = 300, settings: Annotated[Any, FLAT] = None,
) -> None:  # fmt: skip
    """Train the refiner of large pictures; continues from the folder's checkpoint if there is one.

    Args:
        pictures: Folder of shards from `scorelift toybox render --crops`.
        out: Folder of the checkpoint, log and final weights.
        device: Where to compute.
        steps: Stop after so many steps; default: to the end of the plan.
        save_every: Seconds between checkpoints.
        settings: Every field of the training configuration.
    """
    from ..engine.generate import pick_device
    from ..priors.refiner import FORMAT, WEIGHTS
    from ..toybox.data import Pictures
    from ..toybox.refiner import RefinerTrainer

    _check(settings.seed, out, steps, save_every)
    trainer = RefinerTrainer(settings, Pictures(pictures), out, device=pick_device(device))
    _train(trainer, out / WEIGHTS, FORMAT, steps, save_every)


def _check(seed: int, out: Path, steps: int | None, save_every: float) -> None:
    from ..core.files import check_folder

    check_seed(seed)
    check_folder(out)
    if steps is not None:
        check_at_least("steps", steps)
    check_positive("save_every", save_every)


def _train(trainer: Training, weights: Path, form: str, steps: int | None, save_every: float) -> None:
    """Train to the end or for `steps`, saying how it goes, then write the weights; alone in the folder."""
    from ..core.locks import alone
    from ..toybox.release import release

    with alone(trainer.out) if trainer.team.leads else nullcontext():
        _go_on(trainer, steps, save_every)
        if trainer.team.leads:
            size = release(trainer.checkpoint, weights, form=form)
            print(f"{weights} ({size / 1e6:.1f} MB): use it with --prior {weights}")


def _go_on(trainer: Training, steps: int | None, save_every: float) -> None:
    import torch

    from ..engine.interrupt import Interrupt
    from ..engine.progress import Progress

    torch.set_flush_denormal(True)
    if trainer.resume():
        print(f"resumed at step {trainer.step}")
    progress = Progress(trainer.config.total_steps, trainer.step)
    with Interrupt() as interrupt:
        for entry in trainer.run(save_every_s=save_every, steps=steps, stop=lambda: interrupt.asked):
            progress.done = entry["step"] - 1
            progress.step(f"{entry['stage']}  loss {entry['loss']:.4f}  {entry['pictures_per_s']:.0f} pictures/s")
    progress.close()
    if interrupt.asked:
        print(f"saved at step {trainer.step}; the same command continues")
        raise interrupt.error()


def toybox_judge(
    *, pictures: Path, test: Path, out: Path = Path("judge.safetensors"), steps: int = 4000, seed: int = 7,
    start: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
) -> None:  # fmt: skip
    """Train the judge that reads pictures, and measure it on others.

    Args:
        pictures: Folder of shards to train on (`scorelift toybox render --seed 2 --held-out`).
        test: Folder of shards to measure on (another seed).
        out: Where the weights go.
        steps: Batches of 64.
        seed: Of the training.
        start: Weights of a judge to train further; take another seed.
    """
    import torch

    from ..core.files import check_out
    from ..engine.progress import Progress
    from ..evaluate.prior import judge_on_truth
    from ..toybox.data import SIZE, Pictures
    from ..toybox.judge import load_judge, save_judge, train_judge

    check_at_least("steps", steps)
    check_seed(seed)
    check_out(out)
    torch.set_flush_denormal(True)
    others = Pictures(test)
    others.check_size(SIZE)
    earlier, about = load_judge(start) if start else (None, {"steps": 0})
    progress = Progress(steps)
    judge = train_judge(
        Pictures(pictures), steps, seed=seed, start=earlier, on_step=lambda _, loss: progress.step(f"loss {loss:.3f}")
    )
    progress.close()
    truth = judge_on_truth(judge, others)
    save_judge(judge, out, {"steps": about["steps"] + steps, "seed": seed, "truth": truth})
    print(f"{out}: " + ", ".join(f"{k} {v:.3f}" for k, v in truth.items()))


def toybox_retriever(
    *, pictures: Path, textureless: Path, out: Path = Path("retriever.safetensors"), steps: int = 4000, seed: int = 17
) -> None:
    """Train the retriever that ranks captions by pictures.

    Args:
        pictures: Folder of shards to train on (`scorelift toybox render --seed 2 --held-out`).
        textureless: Folder of textureless ones (`--seed 4 --held-out --textureless`).
        out: Where the weights go.
        steps: Batches of 96.
        seed: Of the training.
    """
    from ..core.files import check_out
    from ..engine.progress import Progress
    from ..toybox.data import Pictures
    from ..toybox.retriever import save_retriever, train_retriever

    check_at_least("steps", steps)
    check_seed(seed)
    check_out(out)
    progress = Progress(steps)
    shapes = Pictures(textureless, textureless=True)
    net = train_retriever(
        Pictures(pictures), shapes, steps, seed=seed, on_step=lambda _, loss: progress.step(f"loss {loss:.3f}")
    )
    progress.close()
    save_retriever(net, out, {"steps": steps, "seed": seed})
    print(out)
