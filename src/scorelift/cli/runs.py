"""Commands that make and use runs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.conf import AvoidSubcommands, Positional

from ..core.errors import bad, check_at_least, check_finite
from .checks import sentence
from .options import FLAT, call
from .resuming import begun, check_same


def generate(argv: Sequence[str], prog: str = "scorelift generate") -> None:
    """Turn a sentence into a textured 3-D asset."""
    from ..engine.generate import generate as run_it
    from ..engine.run import run_folder
    from ..recipes import find_recipe

    name, preset = peek(argv, "--recipe"), peek(argv, "--preset")
    default = find_recipe(recipe_name(argv), preset)
    if "--resume" in argv:
        seed, out_said = peek(argv, "--seed") or default.seed, peek(argv, "--out")
        folders = [run_folder(word, seed, out_said) for word in argv if not word.startswith("-")]  # one is the prompt
        default = next(filter(None, (begun(folder, name, preset) for folder in folders)), default)

    def command(
        prompt: Annotated[Positional[str], tyro.conf.arg(metavar="PROMPT")],
        /,
        *,
        recipe: str = "quick",
        preset: str | None = None,
        out: Path | None = None,
        steps: int | None = None,
        start: Annotated[Path | None, tyro.conf.arg(name="from")] = None,
        device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
        resume: bool = False,
        quiet: bool = False,
        settings: Annotated[Any, FLAT] = default,
    ) -> None:
        """Turn a sentence into a textured 3-D asset.

        Args:
            prompt: What to make.
            recipe: Method; `scorelift recipes` lists them.
            preset: A variant of the recipe.
            out: Folder of the run; default runs/<prompt>-<seed>.
            steps: Steps of each stage; schedules scale along.
            start: Another run, whose final scene this one begins with.
            device: Where to compute.
            resume: Continue the run in the folder, with the settings it was begun with; --until and --finish.* may be
                others.
            quiet: Print nothing but errors.
            settings: Every field of the recipe.
        """
        prompt = sentence(prompt)
        if resume:
            asked = settings if steps is None else settings.with_steps(steps)
            check_same(run_folder(prompt, asked.seed, out), asked, default)
        run = run_it(
            prompt, out=out, recipe=settings, steps=steps, start=start, device=device, resume=resume, quiet=quiet
        )  # fmt: skip
        if not quiet:
            _report(run)

    command.__annotations__["settings"] = Annotated[type(default), FLAT, AvoidSubcommands]
    call(command, argv, prog)


def paint(argv: Sequence[str]) -> None:
    """Colour a mesh of your own by a sentence: scorelift paint MESH PROMPT."""
    recipe = peek(argv, "--recipe")
    if recipe not in (None, "paint"):
        raise bad("recipe", expected="paint", got=recipe, remedy="Other recipes are for `scorelift generate`.")
    if argv and not argv[0].startswith("-"):
        from ..scenes.given import FORMATS

        first, second = (Path(word).suffix.lower() in FORMATS for word in (argv[0], " ".join(argv[1:2])))
        if second and not first:
            raise bad("mesh", expected="the mesh first, then the prompt", got=argv[0])
        generate([*argv[1:], "--recipe", "paint", "--colours.scene.mesh", argv[0]], "scorelift paint MESH")
    elif {*argv} & {"-h", "--help"}:
        generate(["--help", "--recipe", "paint"], "scorelift paint MESH")
    else:
        raise bad("mesh", expected="a mesh to paint, then a prompt, then options", got=argv[0] if argv else "none",
                  remedy='Say `scorelift paint car.glb "a red car"`.')  # fmt: skip


def canvas(
    prompt: Positional[str], /, *, distiller: Literal["sds", "sjc", "vsd", "apfo", "jacobian", "mse"] = "sds",
    noise: Literal["annealed", "karras", "random"] = "annealed", cfg: float = 3.0,
    kind: Literal["pixels", "mirror", "mlp"] = "pixels", generator: str | None = None, pictures: int = 4,
    steps: int = 300, size: int = 64,
    prior: str = "toybox", seed: int = 0, out: Path | None = None, resume: bool = False, quiet: bool = False,
) -> None:  # fmt: skip
    """Distil flat pictures instead of a scene, to see what a distiller and its noise do.

    Args:
        prompt: What to show.
        distiller: Score distillation, perturb-and-average scores, variational score distillation, probability flow, or
            the diffusion loss or the reconstruction error (mse), both with the network's Jacobian.
        noise: Falling from much to little, straight in the logarithm or as Karras has it, or drawn anew each step.
        cfg: Guidance scale.
        kind: Free pixels, a picture whose right half mirrors the left, or a small network of the coordinates.
        generator: In place of these, a generator of your own: module:function. Called with the number of pictures, the
            function gives the generator and the codes to begin with.
        pictures: So many at once, side by side.
        steps: Of the optimization.
        size: Height and width the prior sees.
        prior: Its name, a diffusers model's folder or hub id, or a weights file.
        seed: Of everything random.
        out: Folder of the run; default runs/canvas-<prompt>-<seed>.
        resume: Continue the run in the folder.
        quiet: Print nothing but errors.
    """
    from dataclasses import replace

    from ..engine.generate import generate as run_it
    from ..engine.run import slug
    from ..recipes.canvas import study

    prompt = sentence(prompt)
    check_finite("cfg", cfg)
    for name, value in (("pictures", pictures), ("steps", steps), ("size", size)):
        check_at_least(name, value)
    if generator is not None:
        sys.path.insert(0, "")  # the current folder, as for `python -m`
    recipe = study(distiller, noise, cfg, kind=kind, generator=generator, pictures=pictures, steps=steps, size=size)
    where = out or Path("runs") / f"canvas-{slug(prompt)}-{seed}"
    if resume:
        asked = replace(recipe, prior=prior, seed=seed)
        check_same(where, asked, study("sds", "annealed", 3.0))
    run = run_it(prompt, out=where, recipe=recipe, prior=prior, seed=seed, resume=resume, quiet=quiet)
    if not quiet:
        _report(run)


def _report(run: Any) -> None:
    print(f"{run.path}  ({run.metrics['seconds']:.0f} s, seed {run.metrics['seed']})")
    for name in ("asset.glb", "turntable.mp4", "preview.png", "report.html"):
        if (run.path / name).exists():
            print(f"  {run.path / name}")


def peek(argv: Sequence[str], option: str) -> str | None:
    """The value of an option that decides which other options exist."""
    for i, word in enumerate(argv):
        if word == option and i + 1 < len(argv):
            return argv[i + 1]
        if word.startswith(option + "="):
            return word[len(option) + 1 :]
    return None


def recipe_name(argv: Sequence[str]) -> str:
    """The recipe that a command is given, by default `quick`."""
    found = peek(argv, "--recipe")
    return "quick" if found is None else found


def export(
    run: Positional[Path], /, *, format: Literal["glb", "obj", "ply", "stl", "splat"] = "glb", out: Path | None = None
) -> None:
    """Write a finished run's asset in another format.

    Args:
        run: Folder of the run.
        format: GLB (one file), OBJ (with material and texture), PLY (vertex colours), STL (no colours) or splat (a
            PLY of Gaussians).
        out: File to write, or a folder for asset.<format> (splats.ply); default the run's.
    """
    from ..engine.outputs import export_run
    from ..engine.run import Run

    for path in export_run(Run.open(run), format, out):
        print(path)


def render(
    run: Positional[Path], /, *, shot: Annotated[Any, FLAT] = None, source: Literal["scene", "mesh"] = "scene",
    turntable: bool = False, frames: int = 48, out: Path | None = None,
) -> None:  # fmt: skip
    """Show a finished run from any view in any light.

    Args:
        run: Folder of the run.
        shot: Camera, light and what is shown.
        source: The optimized scene, or the exported mesh.
        turntable: A video of one turn instead of a picture.
        frames: Of the video.
        out: PNG or MP4 to write; default render.png or render.mp4 in the run's folder.
    """
    from dataclasses import replace

    from ..core.files import check_out
    from ..core.pictures import to_uint8, write_png
    from ..engine.outputs import check_solid, shooter
    from ..engine.run import Run
    from ..export.pictures import write_mp4

    check_at_least("frames", frames)
    if turntable and shot.resolution % 2:
        raise bad("resolution", expected="an even number of pixels for a video", got=shot.resolution)
    opened = Run.open(run)
    path = out or run / ("render.mp4" if turntable else "render.png")
    check_out(path, ".mp4" if turntable else ".png")
    shoot = shooter(opened, source)
    if turntable or shot.mode not in ("albedo", "shaded"):
        check_solid(opened, "turntable" if turntable else f"mode {shot.mode}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if turntable:
        turn = [replace(shot, azimuth_deg=shot.azimuth_deg + 360 * i / frames) for i in range(frames)]
        write_mp4(path, [to_uint8(shoot(one)) for one in turn])
    else:
        write_png(path, to_uint8(shoot(shot)))
    print(path)


def recipes() -> None:
    """List the recipes and their presets."""
    from ..recipes import RECIPES

    for name, cls in RECIPES.items():
        print(f"{name:<16} {cls.summary}")
        for preset, text in cls.presets.items():
            print(f"  --preset {preset:<7}{text}")
