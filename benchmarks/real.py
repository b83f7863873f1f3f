"""A step of each recipe with published architectures at full size and random weights: time, overhead, peak memory.

    python benchmarks/real.py [--priors sd21-base sdxl] [--recipes dreamfusion sjc quick] [--out real.json]

Needs the diffusers extra and, for anything but patience, a GPU. Weights are random, so pictures mean nothing; times and
memory are those of real weights. Prints a table in Markdown, one row a stage: overhead is step over prior, counted is
what `scorelift plan` says. `--priors tiny --device cpu` checks the benchmark itself on any machine.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from full_size import FULL, Full
from scorelift.core.diffusion import Flow, Table
from scorelift.engine.plan import GIB, StagePlan
from scorelift.priors.diffusers import DiffusersPrior
from scorelift.priors.diffusers.families import Diffusion
from scorelift.priors.diffusers.latents import Latents
from scorelift.priors.diffusers.noise import Noise
from scorelift.recipes import RECIPES, Recipe, find_recipe
from step import measure

TINY = Full(
    lambda: UNet2DConditionModel(
        sample_size=8, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=32, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), attention_head_dim=4,
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    ),
    "nothing", Diffusion, {"tokens": (77, 32)}, 0.18215,
)  # fmt: skip


class RandomPrompts:
    """Stands for the text encoders, which are not in memory while a scene is optimized."""

    def __init__(self, shapes: dict[str, tuple[int, ...]]) -> None:
        self.shapes = shapes

    def encode(self, prompts: list[str]) -> dict[str, torch.Tensor]:
        return {name: torch.rand(len(prompts), *shape) for name, shape in self.shapes.items()}


def vae(full: Full, channels: int, tiny: bool) -> AutoencoderKL:
    """The autoencoder of Stable Diffusion, by its published configuration."""
    widths, layers = ((8, 16), 1) if tiny else ((128, 256, 512, 512), 2)
    return AutoencoderKL(
        block_out_channels=widths, layers_per_block=layers, latent_channels=channels, scaling_factor=full.latents,
        down_block_types=("DownEncoderBlock2D",) * len(widths), up_block_types=("UpDecoderBlock2D",) * len(widths),
        norm_num_groups=8 if tiny else 32,
    )  # fmt: skip


class Published:
    """What families ask of a checkpoint, where there is an architecture alone."""

    kind = "PixArtSigmaPipeline"

    def __init__(self, full: Full, net: Any) -> None:
        refines = full.prompt.get("sizes") == (5,)
        self.net, self.index = net, {"requires_aesthetics_score": refines}
        self.encoders = {"text_encoder_2": 1280} if refines else {"text_encoder": 768, "text_encoder_2": 1280}

    def names(self, component: str) -> tuple[str, str] | None:
        return ("", "") if component.replace("tokenizer", "text_encoder") in self.encoders else None

    def config(self, component: str) -> Any:
        if component in self.encoders:
            return {"hidden_size": self.encoders[component], "projection_dim": 1280}
        return {"block_out_channels": (1,) * 4} if component == "vae" else self.net.config


def build(name: str, device: str, dtype: torch.dtype) -> DiffusersPrior:
    """A prior of full size with random weights."""
    full = TINY if name == "tiny" else FULL[name]
    with torch.device(device):
        torch.set_default_dtype(dtype)  # at once, for a card that does not hold it in fp32
        try:
            net: Any = full.build()
        finally:
            torch.set_default_dtype(torch.float32)
        net = net.to(dtype).eval().requires_grad_(False)
        latents = None
        if full.latents is not None:
            encoder = vae(full, net.config.in_channels, name == "tiny").eval().requires_grad_(False)
            latents = Latents(encoder, net.config.sample_size, 2 if name == "tiny" else 8)
    family = full.family(Published(full, net))  # type: ignore[arg-type]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    schedule = Flow(3.0) if full.predicts == "flow" else Table(tuple((1 - betas).cumprod(0).tolist()))
    noise = Noise(schedule, full.predicts, 1000)  # type: ignore[arg-type]
    return DiffusersPrior(net, family, noise, latents, RandomPrompts(full.prompt), name)  # type: ignore[arg-type]


def counted(name: str, plan: Recipe, dtype: torch.dtype) -> dict[str, float]:
    """GiB of tensors at most in each stage, as `scorelift plan` counts them."""
    sketch = build(name, "meta", dtype)
    stages = plan.stages().items()
    return {stage: StagePlan(stage, found, sketch, 0).whole.peak / GIB for stage, found in stages if not found.prior}


def rows_of(name: str, recipe: str, args: argparse.Namespace, prior: DiffusersPrior, dtype: torch.dtype) -> list[dict]:
    """What a recipe's stages take with a prior; one row without numbers where memory does not hold it."""
    plan = find_recipe(recipe, "small" if name == "tiny" and recipe != "quick" else None)
    plan = plan.fitted(prior.channels if prior.bound is None else 0, prior.sizes[0])
    foretold = counted(name, plan, dtype)
    try:
        rows = measure(plan, prior, args.steps, args.warm, args.device, middle=0)
    except torch.OutOfMemoryError:
        rows = [{"recipe": recipe, "stage": "out of memory"}]
    for row in rows:
        row |= {"prior, ms": row.pop("prior", None), "prior": name, "counted": foretold.get(row["stage"])}
    return rows


COLUMNS = {
    "prior": "prior", "recipe": "recipe", "stage": "stage", "step, ms": "step", "prior, ms": "prior, ms",
    "overhead": "overhead", "peak, GiB": "peak_gib", "counted, GiB": "counted", "a step": "portions",
}  # fmt: skip


def line(row: dict[str, Any]) -> str:
    """A row of the table."""
    shown = (row.get(key) for key in COLUMNS.values())
    return "| " + " | ".join(v if isinstance(v, str) else "" if v is None else f"{v:.4g}" for v in shown) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--priors", nargs="*", default=["sd21-base", "sdxl", "sdxl-refiner", "if"],
                        choices=["tiny", *FULL])  # fmt: skip
    parser.add_argument("--recipes", nargs="*", default=["dreamfusion", "sjc", "quick"], choices=list(RECIPES))
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--steps", type=int, default=20, help="steps that are measured")
    parser.add_argument("--warm", type=int, default=3, help="steps before those")
    parser.add_argument("--out", type=Path, help="JSON with all parts of a step")
    args = parser.parse_args()
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no CUDA device; --priors tiny --device cpu checks the benchmark itself")
    logging.disable(logging.WARNING)  # it advises against what is right here
    dtype = torch.float16 if args.device == "cuda" else torch.float32
    card = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}, {dtype}, median of {args.steps} steps\n")
    print("| " + " | ".join(COLUMNS) + " |\n" + "|---" * len(COLUMNS) + "|", flush=True)
    everything = []
    for name in args.priors:
        prior = build(name, args.device, dtype)
        for recipe in args.recipes:
            for row in rows_of(name, recipe, args, prior, dtype):
                print(line(row), flush=True)
                everything.append(row)
        del prior
        gc.collect()
        if args.device == "cuda":
            torch.cuda.empty_cache()
    if args.out is not None:
        about = {"card": card, "torch": torch.__version__, "dtype": str(dtype), "steps": args.steps}
        args.out.write_text(json.dumps({**about, "rows": everything}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
