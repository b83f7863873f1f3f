"""The README's picture: the default command on some prompts, each mesh from the front, the left, behind and the right.

    python benchmarks/strip.py --out docs/images/strip.png [--runs runs/strip] [--seed 0] [PROMPT ...]

Prints a line of Markdown for each prompt with its seconds, measured by the run itself. Finished runs are kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch

from scorelift.core.pictures import labelled_sheet, write_png
from scorelift.engine.outputs import shooter
from scorelift.engine.run import Run, slug
from scorelift.export.shots import Shot

PROMPTS = (
    "a red mushroom",
    "an orange car",
    "a yellow duck",
    "a green chair",
    "a blue teapot",
    "a green cactus",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prompts", nargs="*", default=PROMPTS)
    parser.add_argument("--out", type=Path, default=Path("strip.png"))
    parser.add_argument("--runs", type=Path, default=Path("runs/strip"))
    parser.add_argument("--seed", type=int, default=0)
    args, rest = parser.parse_known_args()
    pictures, labels = [], []
    for prompt in args.prompts:
        path = args.runs / f"{slug(prompt)}-{args.seed}"
        command = [sys.executable, "-m", "scorelift", "generate", prompt, "--seed", str(args.seed), "--out", str(path)]
        subprocess.run([*command, "--quiet", "--resume", *rest], check=True)
        run = Run.open(path)
        look = shooter(run, "mesh")
        pictures += [
            look(Shot(azimuth_deg=a, elevation_deg=15.0, resolution=128, mode="shaded")) for a in (0, 90, 180, 270)
        ]
        labels += [prompt, "", "", ""]
        print(f"| {prompt} | {args.seed} | {run.metrics['seconds']:.0f} |", flush=True)
    write_png(args.out, labelled_sheet(torch.stack(pictures), labels, 8, scale=1))
    print(args.out)


if __name__ == "__main__":
    main()
