"""The hash encoding, plain and compiled: features of samples along rays, and the gradient on the table.

    python benchmarks/hash_encoding.py [--repeat 5] [--out hash.json]

"small" is a grid for two CPU cores, "paper" DreamFlow's. Medians of one run: compare the rows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from scorelift.core.camera_samplers import RingSampler
from scorelift.kernels.hash_encoding import HashLevels, compiled_form, encode_compiled, encode_reference
from scorelift.scenes.fields import ball_span

GRIDS = {"small": HashLevels(levels=8, features=2, log2_rows=15, coarsest=8, finest=64), "paper": HashLevels()}
PARTS = ("forward", "backward", "to points")


def samples(rays: int, count: int, device: str) -> torch.Tensor:
    """Points along the rays of one camera, as a field sees them."""
    origin, direction = RingSampler(count=1).ring().rays(rays, rays)
    direction = direction.reshape(-1, 3)
    origin = origin.expand_as(direction)
    near, far = ball_span(origin, direction, 1.0)
    depth = near[:, None] + (far - near)[:, None] * (torch.arange(count) + 0.5) / count
    return (origin[:, None] + depth[..., None] * direction[:, None])[far > near].reshape(-1, 3).contiguous().to(device)


def measure(form: object | None, levels: HashLevels, points: torch.Tensor, repeat: int) -> tuple[dict, torch.Tensor]:
    """Median milliseconds of each part, and the gradient on the table."""
    torch.manual_seed(0)
    table = torch.randn(levels.total, levels.features, device=points.device, requires_grad=True)
    moved = points.clone().requires_grad_()
    pull = torch.randn(len(points), levels.width, device=points.device)
    spent: dict[str, list[float]] = {part: [] for part in PARTS}

    def clock() -> float:
        if points.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()

    def encode(places: torch.Tensor) -> torch.Tensor:
        if form is None:
            return encode_reference(table, places, levels)
        return encode_compiled(table, places, levels, form)

    for turn in range(repeat + 1):
        marks = [clock()]
        found = encode(points)
        marks.append(clock())
        (gradient,) = torch.autograd.grad(found, table, pull)
        marks.append(clock())
        found = encode(moved)
        before = clock()
        torch.autograd.grad(found, moved, pull)
        marks.append(marks[-1] + clock() - before)
        if turn:
            for part, start, end in zip(PARTS, marks, marks[1:], strict=False):
                spent[part].append(1e3 * (end - start))
    return {part: statistics.median(values) for part, values in spent.items()}, gradient


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = []
    print(
        f"{'grid':8}{'form':11}{'points':>9}"
        + "".join(f"{part + ' ms':>14}{'faster':>8}" for part in PARTS)
        + "  apart"
    )
    compiled = compiled_form(args.device, torch.float32)
    for name, levels in GRIDS.items():
        points, first = samples(32, 48, args.device), None
        for form in (None, compiled) if compiled is not None else (None,):
            row, gradient = measure(form, levels, points, args.repeat)
            first = first or (row, gradient)
            faster = {part: first[0][part] / row[part] for part in PARTS}
            apart = float((gradient - first[1]).abs().max() / first[1].abs().max())
            kind = "compiled" if form else "reference"
            rows.append({"grid": name, "form": kind, "points": len(points), **row, "faster": faster, "apart": apart})
            figures = "".join(f"{row[part]:14.1f}{faster[part]:8.1f}" for part in PARTS)
            print(f"{name:8}{kind:11}{len(points):9}{figures}  {apart:.0e}")
    if args.out is not None:
        args.out.write_text(
            json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
