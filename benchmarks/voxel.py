"""The voxel step, plain and compiled: 100^3 grid, 64 x 64 rays, half-voxel steps, the emptiness loss.

    python benchmarks/voxel.py [--resolution 100] [--repeat 7] [--out voxel.json]

"dense" reads every sample of every ray, as the official code of SJC does; "packed" skips empty space and what lies
behind opaque samples, in plain PyTorch; "compiled" is one pass each way. Medians of one run: compare the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does

import torch
from torch.nn import functional as F

from scorelift.core.camera_samplers import RingSampler
from scorelift.kernels.composite import BETA, weights_dense
from scorelift.scenes import Field, VoxelConfig, VoxelField
from scorelift.scenes.fields import Rays, Sums, ball_span

PARTS = ("rays", "forward", "backward", "optimizer")


def dense(field: VoxelField, rays: Rays, _: str) -> Sums:
    """Every sample of every ray, by torch's own grid_sample."""
    near, far = ball_span(rays.origin, rays.direction, field.extent)
    count = int(torch.ceil((far - near).max() / field.delta))
    depth = near[:, None] + (torch.arange(count) + rays.jitter[:, None]) * field.delta
    inside = depth < far[:, None]
    xyz = rays.origin[:, None] + depth[..., None] * rays.direction[:, None]
    grid = torch.cat([field.density, field.albedo], -1).permute(3, 2, 1, 0)[None]
    read = F.grid_sample(grid, xyz[None, :, :, None], align_corners=True)[0, ..., 0]
    weight = weights_dense(field.activate(read[0]) * inside, torch.full_like(depth, field.delta))
    colour = (weight * read[1:].sigmoid()).sum(-1).T
    return Sums(colour, weight.sum(-1), (weight * depth).sum(-1), torch.log1p(BETA * weight).sum(-1))


FORMS = {"dense": dense, "packed": Field.integrate, "compiled": VoxelField.integrate}


def scene(kind: str, resolution: int) -> VoxelField:
    """A field as optimization finds it at its start, on random numbers, and at its end (a ball with a soft skin)."""
    torch.manual_seed(0)
    field = VoxelField(VoxelConfig(resolution=resolution, step=0.5, prune_alpha=1e-6))
    axis = torch.linspace(-1, 1, resolution)
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)[..., None]
    with torch.no_grad():
        field.albedo.normal_()
        if kind == "random":
            field.density.normal_()
        if kind == "converged":
            field.density.copy_((40 * (0.55 - radius)).clamp(-18, 6))
            field.update(0, 1.0)
    return field


def measure(form: str, field: VoxelField, repeat: int) -> tuple[dict[str, float], Sums]:
    """Median milliseconds of the parts of a step, and what it gathers."""
    optimizer = torch.optim.Adam(field.parameters(), lr=0.0, fused=True)
    camera = RingSampler(count=8).ring()[torch.tensor([1])]
    samples: dict[str, list[float]] = {part: [] for part in PARTS}
    for turn in range(repeat + 2):
        marks = [time.perf_counter()]
        origin, direction = camera.rays(64, 64)
        rays = Rays(origin.expand(4096, 3).contiguous(), direction.reshape(-1, 3), torch.full((4096,), 0.5))
        marks.append(time.perf_counter())
        sums = FORMS[form](field, rays, "albedo")
        marks.append(time.perf_counter())
        optimizer.zero_grad()
        torch.autograd.backward([sums.colour, sums.fog], [torch.ones_like(sums.colour), torch.ones_like(sums.fog)])
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        if turn >= 2:
            for part, start, end in zip(PARTS, marks, marks[1:], strict=False):
                samples[part].append(1e3 * (end - start))
    row = {part: statistics.median(values) for part, values in samples.items()}
    return {**row, "step": sum(row.values())}, sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    rows = []
    print(
        f"{'scene':11}{'form':10}"
        + "".join(f"{p + ' ms':>14}" for p in (*PARTS, "step"))
        + f"{'faster':>9}{'apart':>10}"
    )
    for kind in ("random", "initial", "converged"):
        field, first = scene(kind, args.resolution), None
        for form in FORMS:
            row, sums = measure(form, field, args.repeat)
            first = first or (row["step"], sums)
            apart = float((sums.colour - first[1].colour).detach().abs().max())
            rows.append({"scene": kind, "form": form, **row, "faster": first[0] / row["step"], "apart": apart})
            figures = "".join(f"{row[p]:14.1f}" for p in (*PARTS, "step"))
            print(f"{kind:11}{form:10}{figures}{rows[-1]['faster']:9.1f}{apart:10.1e}")
    if args.out is not None:
        args.out.write_text(
            json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
