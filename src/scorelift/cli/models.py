"""Commands about priors: which there are, what one is, how to get it, what it draws."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional

from ..core.errors import bad, check_at_least, check_finite, check_seed
from .checks import sentence
from .measuring import Stretches, too_large
from .options import MODEL

MEMORY = """
denoiser, text, vae: GB of weights in fp32/in half precision. A GPU has the denoiser in fp16 by default; beside it the
vae, and T5 of IF and PixArt, in fp32, other text encoders in fp16. With --model.precision bf16 all are in bf16. Text
encoders go when the prompt is read. What renders and pictures take as well: scorelift plan --prior NAME.
Any folder or hub id of these kinds works as well: --prior FOLDER."""


def priors() -> None:
    """List the priors, and which of them are on this machine."""
    import importlib.util
    from textwrap import fill

    from ..priors.fetch import folder_of
    from ..priors.known import INSTALL, KNOWN

    able = importlib.util.find_spec("diffusers") is not None
    indent = " " * 15
    print(_row("name", "here", "predicts", "space", "denoiser", "text", "vae"))
    for name, space, size, terms in (
        ("toybox", "pixels 64 x 64", "0.03", "Apache-2.0; toys only, embedded"),
        ("toybox-refiner", "pixels, any size", "0.01", "Apache-2.0; toys only, embedded; for small noise only"),
        ("pixels", "pixels, any size", "-", "no model at all, for dreamfields"),
    ):
        print(_row(name, "yes", "-" if name == "pixels" else "x0", space, size, "-", "-"))
        print(f"{indent}{terms}")
    for name, known in KNOWN.items():
        here = "yes" if able and folder_of(name) else "no"
        sizes = (_gigabytes(part) for part in (known.parameters, known.text, known.autoencoder))
        print(_row(name, here, known.predicts, known.space, *sizes))
        terms = known.licence + (", to be accepted on its page" if known.gated else "")
        for line in (", ".join(known.ids), terms + (f"; {known.note}" if known.note else "")):
            print(fill(line, 100, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False))
    print(MEMORY)
    if not able:
        print(f"The diffusers library is not installed: {INSTALL}.")


def _row(name: str, here: str, predicts: str, space: str, *sizes: str) -> str:
    """A line of the list of priors."""
    return f"{name:<14} {here:<4} {predicts:<8} {space:<21}" + "".join(f" {size:>9}" for size in sizes)


def _gigabytes(billions: float) -> str:
    """What so many parameters take in single and in half precision."""
    return f"{4 * billions:.1f}/{2 * billions:.1f}" if billions else "-"


def priors_get(name: Positional[str], /, *, variant: Literal["fp16"] | None = None) -> None:
    """Download a prior; continues where an earlier try stopped.

    Args:
        name: A name that `scorelift priors` lists, or a hub id.
        variant: fp16: weights in half precision, half the size, of each component that has them.
    """
    from ..priors.fetch import download
    from ..priors.known import KNOWN
    from ..priors.registry import WITHIN

    if name in WITHIN:
        print(f"{name} is embedded: nothing to download.")
        return
    if name not in KNOWN and name.count("/") != 1:
        raise bad("name", expected=", ".join(KNOWN) + ", or a hub id", got=name)
    print(download(name, variant or "", lambda line: print(line, file=sys.stderr, flush=True)))


def priors_check(
    prior: Positional[str], /, *, prompt: str = "a yellow duck", cfg: float = 7.5, steps: int = 25,
    model: Annotated[Any, MODEL] = None, device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    out: Path = Path("check.png"),
) -> None:  # fmt: skip
    """Load a prior, say what it is, draw one picture, measure time and memory.

    Args:
        prior: A prior's name, a diffusers model's folder or hub id, or a weights file.
        prompt: Of the picture.
        cfg: Guidance scale; 1 is none.
        steps: Sampling steps.
        model: How a diffusers model is loaded and run.
        device: Where to compute.
        out: PNG to write.
    """
    import torch

    from ..core.files import check_out
    from ..core.memory import memory_errors
    from ..core.pictures import to_uint8, write_png
    from ..engine.generate import pick_device
    from ..priors.guidance import Guidance
    from ..priors.registry import check_model, load_prior
    from ..priors.sampling import sample as draw

    prompt = sentence(prompt)
    check_at_least("steps", steps, 2)
    check_finite("cfg", cfg)
    check_out(out, ".png")
    check_model(model, prior)
    where, found = pick_device(device), None
    watch = Stretches(where)
    try:
        with memory_errors():
            with watch("loading"):
                found = load_prior(prior, where, model)
            with watch("text"):
                encoded = found.encode_prompts([prompt, ""])
            guidance = Guidance.cfg(encoded.pick([0]), encoded.pick([1]), cfg)
            with watch("the first"):
                draw(found, guidance, generator=torch.Generator().manual_seed(0), steps=2)
            with watch("denoising"):
                z = draw(found, guidance, generator=torch.Generator().manual_seed(0), steps=steps)
            with watch("decoding"):
                picture = found.decode(z)[0].cpu()
    except torch.OutOfMemoryError as error:
        raise too_large(prior, model, where, error, able=found is None or bool(found.can_rest)) from error
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, to_uint8(picture))
    low, high = found.sigma_range
    step, first = watch.seconds["denoising"] / steps, watch.seconds["the first"]
    facts = {
        "name": found.name,
        **found.facts(),
        "predicts": getattr(found, "prediction", "x0"),
        "space": f"{'latent' if getattr(found, 'latents', None) else 'pixels'} {found.sizes[0]} x {found.sizes[0]} x "
        f"{found.channels}",
        "noise": f"sigma {low:.3g} to {high:.3g}",
        "prompt": ", ".join(f"{name} {tuple(t.shape[1:])}" for name, t in encoded.tensors.items()),
        "loading": f"{watch.seconds['loading']:.1f} s, prompts {watch.seconds['text']:.1f} s",
        "a step": f"{step:.3f} s with guidance, on {where}; before, the first two {first:.1f} s"
        + (f", of which compiling {max(first - 2 * step, 0):.1f} s" if model.compile else ""),
        **({"memory": f"GiB at most: {', '.join(watch.peaks)}"} if watch.peaks else {}),
    }
    for key, value in facts.items():
        print(f"{key:<9} {value}")
    print(out)


def sample(
    prompt: Positional[str], /, *, n: int = 8, cfg: float = 3.0, steps: int = 40, ddim: bool = False,
    around: bool = False, size: int | None = None, seed: int = 0, prior: str = "toybox",
    model: Annotated[Any, MODEL] = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto", out: Path = Path("samples.png"),
) -> None:  # fmt: skip
    """Draw pictures from a prior.

    Args:
        prompt: What to draw.
        n: How many pictures.
        cfg: Guidance scale; 1 is none.
        steps: Sampling steps.
        ddim: Deterministic sampling instead of ancestral.
        around: Tell the prior a camera for each picture, evenly around the object from the front on.
        size: Height and width in the prior's space; default what it was trained at.
        seed: Of the noise.
        prior: A prior's name, a diffusers model's folder or hub id, or a weights file.
        model: How a diffusers model is loaded and run.
        device: Where to compute.
        out: PNG to write.
    """
    import torch

    from ..core.camera_samplers import ring
    from ..core.files import check_out
    from ..core.pictures import labelled_sheet, write_png
    from ..engine.generate import pick_device
    from ..priors.guidance import Guidance
    from ..priors.registry import check_model, load_prior
    from ..priors.sampling import sample as draw

    prompt = sentence(prompt)
    check_at_least("n", n)
    check_at_least("steps", steps, 2)
    check_finite("cfg", cfg)
    check_seed(seed)
    check_out(out, ".png")
    check_model(model, prior)
    found = load_prior(prior, pick_device(device), model)
    if size is not None and size not in found.sizes:
        raise bad("size", expected=f"one of {found.sizes}", got=size)
    encoded = found.encode_prompts([prompt, ""])
    asked = encoded.pick([0] * n)
    if around and found.views == 1:  # those of several views are told cameras anyhow
        asked = found.seen(asked, ring(n))
    guidance = Guidance.cfg(asked, encoded.pick([1] * n), cfg)
    generator = torch.Generator().manual_seed(seed)
    z = draw(found, guidance, generator=generator, steps=steps, eta=0.0 if ddim else 1.0, size=size)
    out.parent.mkdir(parents=True, exist_ok=True)
    pictures = torch.cat([found.decode(one).cpu() for one in z.split(1)])  # decoders take the most memory
    write_png(out, labelled_sheet(pictures, [""] * n, min(n, 8)))
    print(out)
