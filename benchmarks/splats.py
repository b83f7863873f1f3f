"""Splats on a CPU: the compiled passes against the plain form, forward and back, in one run.

    python benchmarks/splats.py [--count 2000] [--size 64] [--repeats 7]

Median milliseconds and their ratio. Compare within one run.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from scorelift.core.camera_samplers import ring
from scorelift.kernels.splats import splat, splat_tiled
from scorelift.scenes import GaussianConfig, Gaussians


def timed(gaussians: Gaussians, blend: Callable, size: int, repeats: int) -> tuple[float, float]:
    """Milliseconds of a picture and of its gradient, projection included."""
    gaussians.blend, camera, forward, backward = blend, ring(1, 20.0), [], []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        render = gaussians.render(camera, size)
        middle = time.perf_counter()
        render.rgb.sum().backward()
        forward.append(1e3 * (middle - start))
        backward.append(1e3 * (time.perf_counter() - middle))
    return statistics.median(forward[1:]), statistics.median(backward[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    gaussians = Gaussians(GaussianConfig(count=args.count, most=args.count))
    print(f"{args.count} Gaussians, {args.size} x {args.size}, {torch.get_num_threads()} threads")
    print("| form | picture, ms | its gradient, ms |")
    print("|---|---|---|")
    rows = {name: timed(gaussians, blend, args.size, args.repeats)
            for name, blend in (("plain", splat_tiled), ("compiled", splat))}  # fmt: skip
    for name, row in rows.items():
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row) + " |")
    ratio = [a / b for a, b in zip(*rows.values(), strict=True)]
    print(f"| ratio | {ratio[0]:.1f} | {ratio[1]:.1f} |")


if __name__ == "__main__":
    main()
