"""Commands of the closed world and of measuring."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from ..core.errors import bad
from .options import FLAT

if TYPE_CHECKING:
    from ..toybox.training import Training


def toybox_show(*, out: Path = Path("toybox.png"), captions: int = 0, seed: int = 0, size: int = 64) -> None:
    """Write a contact sheet of the closed world with captions.

    Args:
        out: PNG to write.
        captions: Show so many random captions; 0 shows every kind of object once.
        seed: Of the random captions.
        size: Height and width of each picture.
    """
    from ..core.pictures import write_png
    from ..toybox.sheet import kinds_sheet, random_sheet

    picture = random_sheet(captions, seed, size) if captions else kinds_sheet(size)
    write_png(out, picture)
    print(out)


def toybox_words() -> None:
    """List the words the closed world knows."""
    from ..toybox.accessories import ACCESSORIES
    from ..toybox.grammar import FILLERS, known_words
    from ..toybox.palette import COLOUR_NAMES
    from ..toybox.spec import FINISHES, SUPPORTS
    from ..toybox.toys import KINDS

    print("objects:    ", ", ".join(KINDS))
    print("colours:    ", ", ".join(COLOUR_NAMES))
    print("finishes:   ", ", ".join(FINISHES))
    print("accessories:", ", ".join(ACCESSORIES), "(on", ", ".join(k for k, v in KINDS.items() if v.head), ")")
    print("supports:   ", ", ".join(SUPPORTS), "('a duck on a table')")
    print("adjectives: ", ", ".join(FILLERS), "(without effect)")
    print("all words:  ", ", ".join(sorted(known_words())))


def toybox_render(
    folder: Positional[Path],
    /,
    *,
    shards: int = 26,
    first: int = 0,
    seed: int = 1,
    held_out: bool = False,
    textureless: bool = False,
    crops: bool = False,
) -> None:
    """Trace shards of pictures for training, 8,192 each (2,048 crops); those that exist are kept.

    Args:
        folder: Where the shards go.
        shards: How many.
        first: Index of the first.
        seed: Of the world drawn; the prior trains on seed 1, the judge on seed 2.
        held_out: Also draw the combinations that the prior's training set leaves out.
        textureless: Shapes without their colours.
        crops: Parts of large pictures, which the refiner trains on.
    """
    from ..engine.progress import Progress
    from ..toybox.data import CROP_SHARD, SHARD, render_shard

    progress = Progress(shards * (CROP_SHARD if crops else SHARD))

    def count(n: int) -> None:
        progress.done += n - 1
        progress.step("pictures traced")

    for index in range(first, first + shards):
        render_shard(folder, index, seed=seed, train=not held_out, textureless=textureless, crops=crops, on_batch=count)
    progress.close()


def toybox_train(
    *, pictures: Path, out: Path, device: Literal["auto", "cpu", "cuda"] = "auto", steps: int | None = None,
    save_every: float = 300, settings: Annotated[Any, FLAT] = None,
) -> None:  # fmt: skip
    """Train the embedded prior; continues from the folder's checkpoint if there is one.

    Args:
        pictures: Folder of shards from `scorelift toybox render`.
        out: Folder of the checkpoint, log and final weights.
        device: Where to compute.
        steps: Stop after so many steps; default: to the end of the plan.
        save_every: Seconds between checkpoints.
        settings: Every field of the training configuration.
    """
    from ..engine.generate import pick_device
    from ..priors.toybox import FORMAT
    from ..toybox.data import Pictures
    from ..toybox.train import Trainer

    trainer = Trainer(settings, Pictures(pictures), out, device=pick_device(device))
    _train(trainer, out / "toybox.safetensors", FORMAT, steps, save_every)


def toybox_refiner(
    *, pictures: Path, out: Path, device: Literal["auto", "cpu", "cuda"] = "auto", steps: int | None = None,
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

    trainer = RefinerTrainer(settings, Pictures(pictures), out, device=pick_device(device))
    _train(trainer, out / WEIGHTS, FORMAT, steps, save_every)


def _train(trainer: Training, weights: Path, form: str, steps: int | None, save_every: float) -> None:
    """Train to the end or for `steps`, saying how it goes, then write the weights."""
    import torch

    from ..engine.progress import Progress
    from ..toybox.release import release

    torch.set_flush_denormal(True)
    if trainer.resume():
        print(f"resumed at step {trainer.step}")
    progress = Progress(trainer.config.total_steps, trainer.step)
    for entry in trainer.run(save_every_s=save_every, steps=steps):
        progress.done = entry["step"] - 1
        progress.step(f"{entry['stage']}  loss {entry['loss']:.4f}  {entry['pictures_per_s']:.0f} pictures/s")
    progress.close()
    size = release(trainer.checkpoint, weights, form=form)
    print(f"{weights} ({size / 1e6:.1f} MB): use it with --prior {weights}")


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

    from ..engine.progress import Progress
    from ..evaluate.prior import judge_on_truth
    from ..toybox.data import Pictures
    from ..toybox.judge import load_judge, save_judge, train_judge

    torch.set_flush_denormal(True)
    earlier, about = load_judge(start) if start else (None, {"steps": 0})
    progress = Progress(steps)
    judge = train_judge(
        Pictures(pictures), steps, seed=seed, start=earlier, on_step=lambda _, loss: progress.step(f"loss {loss:.3f}")
    )
    progress.close()
    truth = judge_on_truth(judge, Pictures(test))
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
    from ..engine.progress import Progress
    from ..toybox.data import Pictures
    from ..toybox.retriever import save_retriever, train_retriever

    progress = Progress(steps)
    shapes = Pictures(textureless, textureless=True)
    net = train_retriever(
        Pictures(pictures), shapes, steps, seed=seed, on_step=lambda _, loss: progress.step(f"loss {loss:.3f}")
    )
    progress.close()
    save_retriever(net, out, {"steps": steps, "seed": seed})
    print(out)


def evaluate(
    runs: Positional[tuple[Path, ...]],
    /,
    *,
    settings: Annotated[Any, FLAT] = None,
    captions: Path | None = None,
    out: Path | None = None,
) -> None:
    """Measure finished runs: retrieval precision, distance to the truth, Janus score.

    Args:
        runs: Folders of runs.
        settings: Every field of the evaluation.
        captions: A file of distractor captions, one a line; default: drawn from the toybox.
        out: Markdown (.md) or JSON (.json) to write.
    """
    from ..core.files import write_bytes, write_json
    from ..engine.run import Run
    from ..evaluate.assets import as_markdown, evaluate_runs

    if out is not None and out.suffix not in (".md", ".json"):
        raise bad("out", expected="a name ending in .md or .json", got=str(out))
    lines = None if captions is None else [line.strip() for line in captions.read_text().splitlines() if line.strip()]
    result = evaluate_runs([Run.open(path) for path in runs], settings, lines)
    print(as_markdown(result))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, result) if out.suffix == ".json" else write_bytes(out, as_markdown(result).encode())
        print(out)


def evaluate_prefer(
    runs: Positional[tuple[Path, ...]] = (),
    /,
    *,
    out: Path = Path("prefer.html"),
    tally: Path | None = None,
    seed: int = 0,
) -> None:
    """Make a page for blind pairwise preference between runs of one prompt, or tally its answers.

    Args:
        runs: Folders of runs.
        out: HTML to write.
        tally: Answers saved from the page; prints wins, ties and losses instead.
        seed: Of the order and the sides.
    """
    import json

    from ..core.files import write_bytes
    from ..engine.run import Run
    from ..evaluate.preference import preference_page
    from ..evaluate.preference import tally as count

    if tally is not None:
        for question, rows in count(json.loads(tally.read_text())).items():
            print(question)
            for run, counts in rows.items():
                print(f"  {run}: {counts['wins']} won, {counts['ties']} equal, {counts['losses']} lost")
        return
    write_bytes(out, preference_page([Run.open(path) for path in runs], seed).encode())
    print(out)


def evaluate_prior(
    *, prior: str = "toybox", n: int = 400, cfg: float = 3.0, steps: int = 30, seed: int = 0, out: Path | None = None
) -> None:
    """Measure a prior with the judge: object, colour, view, held-out combinations.

    Args:
        prior: A prior's name, or a weights file.
        n: Pictures for each figure.
        cfg: Guidance scale of the samples.
        steps: Sampling steps.
        seed: Of prompts and noise.
        out: JSON to write.
    """
    from ..core.files import write_json
    from ..evaluate.prior import evaluate_prior as measure
    from ..priors.registry import load_prior

    result = measure(load_prior(prior), n=n, cfg_scale=cfg, steps=steps, seed=seed)
    truth = result["truth"]
    print(f"{'':16}{'prior':>8}{'true pictures':>16}")
    for key in ("object", "colour", "view", "heldout_object", "heldout_colour"):
        print(f"{key:16}{result[key]:>8.1%}{truth[key]:>16.1%}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, result)
        print(out)
