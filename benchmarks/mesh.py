"""What a picture of a mesh costs: marching its surface, rasterizing, softening silhouettes, and all of it backward.

    python benchmarks/mesh.py [--resolution 58] [--sizes 64 256 512 1024] [--repeat 5] [--out mesh.json]

Milliseconds of one run on one machine: compare columns, not days.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from pathlib import Path

from scorelift.core.camera_samplers import ring
from scorelift.kernels.raster import project, rasterize
from scorelift.kernels.silhouettes import antialias
from scorelift.scenes import HashConfig, MeshConfig, build_scene

PARTS = ("march", "project", "rasterize", "antialias", "backward")


def measure(resolution: int, size: int, repeat: int) -> dict[str, float]:
    """Median milliseconds of each part, and the number of faces."""
    paint = HashConfig(levels=2, log2_rows=8, coarsest=4, finest=8, environment=False)
    mesh = build_scene(MeshConfig(resolution=resolution, paint=paint))
    camera, found = ring(1), defaultdict(list)
    for _ in range(repeat + 1):
        clock = [time.perf_counter()]

        def tick(clock: list[float] = clock) -> None:
            clock.append(time.perf_counter())

        points, faces = mesh.surface()
        tick()
        screen = project(points, camera, size)
        tick()
        seen = rasterize(screen, faces, size)
        image = points.new_zeros(size * size, 3).index_copy(0, seen.pixel, seen.interpolate(points, faces))
        tick()
        picture = antialias(image.view(1, size, size, 3).permute(0, 3, 1, 2), screen, faces, seen)
        tick()
        picture.square().mean().backward()
        tick()
        for part, start, end in zip(PARTS, clock[:-1], clock[1:], strict=True):
            found[part].append(1e3 * (end - start))
    return {"faces": len(faces), **{part: statistics.median(times[1:]) for part, times in found.items()}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=58)
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 512, 1024])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rows = {size: measure(options.resolution, size, options.repeat) for size in options.sizes}
    print("| pixels | faces | " + " | ".join(f"{part}, ms" for part in PARTS) + " |")
    print("|---" * (len(PARTS) + 2) + "|")
    for size, row in rows.items():
        print(f"| {size}² | {row['faces']:,} | " + " | ".join(f"{row[part]:.1f}" for part in PARTS) + " |")
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
