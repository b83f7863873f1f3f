"""The command line. Each command is a function; its options are the function's arguments."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import AvoidSubcommands, Positional

from .core.errors import ScoreliftError, bad
from .version import __version__

Command = Callable[..., None]
_FLAT = tyro.conf.arg(name="")


def generate(argv: Sequence[str]) -> None:
    """Turn a sentence into a textured 3-D asset."""
    from .engine.generate import generate as run_it
    from .recipes import find_recipe

    name, preset = _peek(argv, "--recipe") or "quick", _peek(argv, "--preset")
    default = find_recipe(name, preset)

    def command(
        prompt: Positional[str],
        /,
        *,
        recipe: str = "quick",
        preset: str | None = None,
        out: Path | None = None,
        steps: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        resume: bool = False,
        quiet: bool = False,
        settings: Annotated[Any, _FLAT] = default,
    ) -> None:
        """Turn a sentence into a textured 3-D asset.

        Args:
            prompt: What to make.
            recipe: Method; `scorelift recipes` lists them.
            preset: A variant of the recipe.
            out: Folder of the run; default runs/<prompt>-<seed>.
            steps: Steps of each stage; schedules scale along.
            device: Where to compute.
            resume: Continue the run in the folder.
            quiet: Print nothing but errors.
            settings: Every field of the recipe.
        """
        run = run_it(
            prompt, out=out, recipe=settings, steps=steps, device=device, resume=resume, quiet=quiet
        )  # fmt: skip
        if not quiet:
            _report(run)

    command.__annotations__["settings"] = Annotated[type(default), _FLAT, AvoidSubcommands]
    _call(command, argv, "scorelift generate")


def _report(run: Any) -> None:
    print(f"{run.path}  ({run.metrics['seconds']:.0f} s, seed {run.metrics['seed']})")
    for name in ("asset.glb", "turntable.mp4", "preview.png", "report.html"):
        if (run.path / name).exists():
            print(f"  {run.path / name}")


def _peek(argv: Sequence[str], option: str) -> str | None:
    """The value of an option that decides which other options exist."""
    for i, word in enumerate(argv):
        if word == option and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(option + "="):
            return word[len(option) + 1 :]
    return None


def export(run: Positional[Path], /, *, format: Literal["glb", "obj", "ply"] = "glb", out: Path | None = None) -> None:
    """Write a finished run's asset in another format.

    Args:
        run: Folder of the run.
        format: GLB (one file), OBJ (with material and texture) or PLY (vertex colours).
        out: Where to write; default asset.<format> in the run's folder.
    """
    from .engine.outputs import export as write
    from .engine.run import Run

    for path in write(Run.open(run), format, out):
        print(path)


def sample(
    prompt: Positional[str], /, *, n: int = 8, cfg: float = 3.0, steps: int = 40, ddim: bool = False, size: int = 64,
    seed: int = 0, prior: str = "toybox", out: Path = Path("samples.png"),
) -> None:  # fmt: skip
    """Draw pictures from a prior.

    Args:
        prompt: What to draw.
        n: How many pictures.
        cfg: Guidance scale; 1 is none.
        steps: Sampling steps.
        ddim: Deterministic sampling instead of ancestral.
        size: Height and width of the pictures.
        seed: Of the noise.
        prior: A prior's name, or a weights file.
        out: PNG to write.
    """
    import torch

    from .core.pictures import labelled_sheet, write_png
    from .priors.guidance import Guidance
    from .priors.registry import load_prior
    from .priors.sampling import sample as draw

    if n < 1:
        raise bad("n", expected="at least 1", got=n)
    model = load_prior(prior)
    if size not in model.sizes:
        raise bad("size", expected=f"one of {model.sizes}", got=size)
    encoded = model.encode_prompts([prompt, ""])
    guidance = Guidance.cfg(encoded.pick([0] * n), encoded.pick([1] * n), cfg)
    generator = torch.Generator().manual_seed(seed)
    z = draw(model, guidance, generator=generator, steps=steps, eta=0.0 if ddim else 1.0, size=size)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, labelled_sheet(model.decode(z), [""] * n, min(n, 8)))
    print(out)


def recipes() -> None:
    """List the recipes and their presets."""
    from .recipes import RECIPES

    for name, cls in RECIPES.items():
        print(f"{name:<14} {cls.summary}")
        for preset, text in cls.presets.items():
            print(f"  --preset {preset:<10} {text}")


def toybox_show(*, out: Path = Path("toybox.png"), captions: int = 0, seed: int = 0, size: int = 64) -> None:
    """Write a contact sheet of the closed world with captions.

    Args:
        out: PNG to write.
        captions: Show so many random captions; 0 shows every kind of object once.
        seed: Of the random captions.
        size: Height and width of each picture.
    """
    from .core.pictures import write_png
    from .toybox.sheet import kinds_sheet, random_sheet

    picture = random_sheet(captions, seed, size) if captions else kinds_sheet(size)
    write_png(out, picture)
    print(out)


def toybox_words() -> None:
    """List the words the closed world knows."""
    from .toybox.accessories import ACCESSORIES
    from .toybox.grammar import FILLERS, known_words
    from .toybox.palette import COLOUR_NAMES
    from .toybox.spec import FINISHES, SUPPORTS
    from .toybox.toys import KINDS

    print("objects:    ", ", ".join(KINDS))
    print("colours:    ", ", ".join(COLOUR_NAMES))
    print("finishes:   ", ", ".join(FINISHES))
    print("accessories:", ", ".join(ACCESSORIES), "(on", ", ".join(k for k, v in KINDS.items() if v.head), ")")
    print("supports:   ", ", ".join(SUPPORTS), "('a duck on a table')")
    print("adjectives: ", ", ".join(FILLERS), "(without effect)")
    print("all words:  ", ", ".join(sorted(known_words())))


def toybox_render(
    folder: Positional[Path], /, *, shards: int = 26, first: int = 0, seed: int = 1, held_out: bool = False
) -> None:
    """Trace shards of pictures for training, 8,192 each; those that exist are kept.

    Args:
        folder: Where the shards go.
        shards: How many.
        first: Index of the first.
        seed: Of the world drawn; the prior trains on seed 1, the judge on seed 2.
        held_out: Also draw the combinations that the prior's training set leaves out.
    """
    from .engine.progress import Progress
    from .toybox.data import SHARD, render_shard

    progress = Progress(shards * SHARD)

    def count(n: int) -> None:
        progress.done += n - 1
        progress.step("pictures traced")

    for index in range(first, first + shards):
        render_shard(folder, index, seed=seed, train=not held_out, on_batch=count)
    progress.close()


def toybox_train(
    *, pictures: Path, out: Path, device: Literal["auto", "cpu", "cuda"] = "auto", steps: int | None = None,
    save_every: float = 300, settings: Annotated[Any, _FLAT] = None,
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
    import torch

    from .engine.generate import pick_device
    from .engine.progress import Progress
    from .toybox.data import Pictures
    from .toybox.release import release
    from .toybox.train import Trainer

    torch.set_flush_denormal(True)
    trainer = Trainer(settings, Pictures(pictures), out, device=pick_device(device))
    if trainer.resume():
        print(f"resumed at step {trainer.step}")
    progress = Progress(settings.total_steps, trainer.step)
    for entry in trainer.run(save_every_s=save_every, steps=steps):
        progress.done = entry["step"] - 1
        progress.step(f"size {entry['size']}  loss {entry['loss']:.4f}  {entry['pictures_per_s']:.0f} pictures/s")
    progress.close()
    size = release(trainer.checkpoint, out / "toybox.safetensors")
    print(f"{out / 'toybox.safetensors'} ({size / 1e6:.1f} MB): use it with --prior {out / 'toybox.safetensors'}")


def toybox_judge(
    *, pictures: Path, test: Path, out: Path = Path("judge.safetensors"), steps: int = 4000, seed: int = 7
) -> None:
    """Train the judge that reads pictures, and measure it on others.

    Args:
        pictures: Folder of shards to train on (`scorelift toybox render --seed 2 --held-out`).
        test: Folder of shards to measure on (another seed).
        out: Where the weights go.
        steps: Batches of 64.
        seed: Of the training.
    """
    from .engine.progress import Progress
    from .evaluate.prior import judge_on_truth
    from .toybox.data import Pictures
    from .toybox.judge import save_judge, train_judge

    progress = Progress(steps)
    judge = train_judge(Pictures(pictures), steps, seed=seed, on_step=lambda _, loss: progress.step(f"loss {loss:.3f}"))
    progress.close()
    truth = judge_on_truth(judge, Pictures(test))
    save_judge(judge, out, {"steps": steps, "seed": seed, "truth": truth})
    print(f"{out}: " + ", ".join(f"{k} {v:.3f}" for k, v in truth.items()))


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
    from .core.files import write_json
    from .evaluate.prior import evaluate_prior as measure
    from .priors.registry import load_prior

    result = measure(load_prior(prior), n=n, cfg_scale=cfg, steps=steps, seed=seed)
    truth = result["truth"]
    print(f"{'':16}{'prior':>8}{'true pictures':>16}")
    for key in ("object", "colour", "view", "heldout_object", "heldout_colour"):
        print(f"{key:16}{result[key]:>8.1%}{truth[key]:>16.1%}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, result)
        print(out)


COMMANDS: dict[str, Command] = {
    "generate": generate,
    "export": export,
    "sample": sample,
    "recipes": recipes,
    "toybox show": toybox_show,
    "toybox words": toybox_words,
    "toybox render": toybox_render,
    "toybox train": toybox_train,
    "toybox judge": toybox_judge,
    "evaluate prior": evaluate_prior,
}


def _usage() -> str:
    lines = ["usage: scorelift COMMAND [OPTIONS]", ""]
    lines += [f"  {name:<16} {(command.__doc__ or '').splitlines()[0]}" for name, command in COMMANDS.items()]
    return "\n".join(
        [*lines, "", "scorelift COMMAND --help lists a command's options; scorelift --version the version."]
    )


def _dispatch(argv: list[str]) -> None:
    name = next((n for n in (" ".join(argv[:2]), argv[0]) if n in COMMANDS), None)
    if name is None:
        asked = " ".join(argv[:2]) if argv[0] in {n.split()[0] for n in COMMANDS} else argv[0]
        raise bad("command", expected=f"one of {', '.join(COMMANDS)}", got=asked, remedy="See scorelift --help.")
    command, rest = COMMANDS[name], argv[len(name.split()) :]
    if command is generate:
        generate(rest)
        return
    if command is toybox_train:
        from .toybox.train import TrainConfig

        command.__annotations__["settings"] = Annotated[TrainConfig, _FLAT]
        command.__kwdefaults__ = {**(command.__kwdefaults__ or {}), "settings": TrainConfig()}
    _call(command, rest, f"scorelift {name}")


def _call(command: Command, argv: Sequence[str], prog: str) -> None:
    """Parse the options of a command, then run it; what the parser complains of becomes one sentence.

    Raises:
        ScoreliftError: for options that cannot be parsed.
    """

    @wraps(command)
    def later(*args: Any, **kwargs: Any) -> Callable[[], None]:
        return lambda: command(*args, **kwargs)

    complaint = io.StringIO()
    try:
        with redirect_stderr(complaint):
            action = tyro.cli(later, args=list(argv), prog=prog)
    except SystemExit as stop:
        if not stop.code:
            raise
        lines = (line.strip(" │╭╮╰╯─") for line in complaint.getvalue().splitlines())
        text = " ".join(line for line in lines if line).removesuffix(f"For full helptext, run {prog} --help").strip()
        raise ScoreliftError(f"{text} See {prog} --help.") from None
    action()


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, 2 for bad input, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    if words[0] == "--version":
        print(f"scorelift {__version__}")
        return 0
    try:
        _dispatch(words)
    except SystemExit:
        return 0
    except ScoreliftError as error:
        print(f"scorelift: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nscorelift: stopped; the state is saved. The same command with --resume continues.", file=sys.stderr)
        return 130
    return 0
