"""What each stage of a recipe needs of a GPU with published architectures at full size: counted, without a GPU.

    python benchmarks/memory.py [--priors sd15 sdxl] [--recipes quick sjc dreamfusion] [--out memory.json]

GiB of tensors in fp16 with the autoencoder in fp32, and, after the comma, in bf16. `benchmarks/real.py` measures the
same on a GPU. Offloaded: of the weights in fp16 what `--model.offload` leaves on the card.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from full_size import FULL
from real import build
from scorelift.engine.plan import GIB, StagePlan
from scorelift.priors.diffusers import DiffusersPrior
from scorelift.recipes import find_recipe


def counted(name: str, precision: torch.dtype) -> DiffusersPrior:
    """A published architecture without memory, in a precision."""
    prior = build(name, "meta", precision)
    if prior.latents is not None and precision == torch.bfloat16:
        prior.latents.vae.to(precision)
    return prior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--priors", nargs="*", default=["sd15", "sd21", "sdxl", "if", "sd3", "pixart-sigma"])
    parser.add_argument("--recipes", nargs="*", default=["quick", "sjc", "dreamfusion"])
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    logging.disable(logging.WARNING)  # it advises against what is right here
    stages = [(r, n) for r in args.recipes for n, s in find_recipe(r).stages().items() if s.prior is None]
    columns = [recipe if name == "field" else f"{recipe}, {name}" for recipe, name in stages]
    head = ["prior", "weights", "offloaded", *columns]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    everything: list[dict[str, Any]] = []
    for name in args.priors or FULL:
        cells = [name]
        priors = [counted(name, precision) for precision in (torch.float16, torch.bfloat16)]
        for recipe, stage in stages:
            channels = priors[0].channels if priors[0].bound is None else 0
            found = find_recipe(recipe).fitted(channels, priors[0].sizes[0]).stages()[stage]
            needs = [StagePlan(stage, found, prior, 0).whole for prior in priors]
            everything.append({"prior": name, "recipe": recipe, "stage": stage, **asdict(needs[0])})
            if len(cells) == 1:
                weights = needs[0].weights
                cells += [f"{weights / GIB:.1f}", f"{(weights - priors[0].can_rest) / GIB:.1f}"]
            cells.append(", ".join(f"{need.peak / GIB:.1f}" for need in needs))
        print("| " + " | ".join(cells) + " |", flush=True)
    if args.out is not None:
        args.out.write_text(json.dumps(everything, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
