"""A step of each recipe with published architectures at full size and random weights: time, overhead, peak memory.

    python benchmarks/real.py [--priors sd21 sdxl] [--recipes quick sjc dreamfusion] [--device cuda] [--out real.json]

Needs the diffusers extra and, for anything but patience, a GPU. Weights are random, so pictures mean nothing; times and
memory are those of real weights. `--priors tiny` checks the benchmark itself on any machine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from full_size import FULL, Full
from scorelift.core.diffusion import Flow, Table
from scorelift.engine.plan import StagePlan
from scorelift.priors.diffusers import DiffusersPrior
from scorelift.priors.diffusers.families import Diffusion
from scorelift.priors.diffusers.latents import Latents
from scorelift.priors.diffusers.noise import Noise
from scorelift.recipes import find_recipe
from step import measure, show

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


def build(name: str, device: str, dtype: torch.dtype) -> DiffusersPrior:
    """A prior of full size with random weights."""
    full = TINY if name == "tiny" else FULL[name]
    with torch.device(device):
        net: Any = full.build()
        net = net.to(dtype).eval().requires_grad_(False)
        latents = None
        if full.latents is not None:
            encoder = vae(full, net.config.in_channels, name == "tiny").eval().requires_grad_(False)
            latents = Latents(encoder, net.config.sample_size, 2 if name == "tiny" else 8)
    family = full.family(SimpleNamespace(kind="PixArtSigmaPipeline", **_stubs()))  # type: ignore[arg-type]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    schedule = Flow(3.0) if full.predicts == "flow" else Table(tuple((1 - betas).cumprod(0).tolist()))
    noise = Noise(schedule, full.predicts, 1000)  # type: ignore[arg-type]
    return DiffusersPrior(net, family, noise, latents, RandomPrompts(full.prompt), name)  # type: ignore[arg-type]


def _stubs() -> dict[str, Any]:
    """What families ask of a checkpoint, where there is none."""
    unet = {"sample_size": 128, "projection_class_embeddings_input_dim": 2816, "addition_time_embed_dim": 256,
            "block_out_channels": (1,) * 4, "projection_dim": 1280, "use_additional_conditions": False}  # fmt: skip
    return {"config": lambda _: unet, "names": lambda _: ("transformers", "CLIPTextModel"), "index": {}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--priors", nargs="*", default=["sd21", "sdxl"], choices=["tiny", *FULL])
    parser.add_argument("--recipes", nargs="*", default=["quick", "sjc", "dreamfusion"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    dtype = torch.float16 if args.device == "cuda" else torch.float32
    everything = []
    for name in args.priors:
        prior = build(name, args.device, dtype)
        count = sum(p.numel() for p in prior.net.parameters())
        print(f"\n{name}: {count / 1e9:.2f} billion parameters, {dtype}, {args.device}")
        for recipe in args.recipes:
            if args.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            plan = find_recipe(recipe).fitted(prior.channels if prior.bound is None else 0)
            rows = measure(plan, prior, args.steps, 3, args.device, middle=0)
            peak = torch.cuda.max_memory_allocated() / 2**30 if args.device == "cuda" else None
            show(rows)
            sketch = build(name, "meta", dtype)
            alone = [StagePlan(n, stage, sketch, 0) for n, stage in plan.stages().items() if stage.prior is None]
            counted = max(stage.whole.peak for stage in alone) / 2**30
            measured = "not measured" if peak is None else f"{peak:.2f} GiB"
            print(f"peak memory {measured}; counted beforehand (`scorelift plan`) {counted:.2f} GiB of tensors")
            everything += [{"prior": name, "peak_gib": peak, "counted_gib": counted, **row} for row in rows]
        del prior
    if args.out is not None:
        args.out.write_text(json.dumps(everything, indent=2) + "\n")


if __name__ == "__main__":
    main()
