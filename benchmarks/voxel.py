"""The voxel step, plain and compiled: 100^3 grid, 64 x 64 rays, half-voxel steps, the emptiness loss.

    python benchmarks/voxel.py [--resolution 100] [--repeat 7] [--shape ball|box] [--out voxel.json]

"dense" reads every sample of every ray, as the official code of SJC does; "packed" skips empty space and what lies
behind opaque samples, in plain PyTorch; "compiled" is one pass each way. Medians of one run: compare the rows.

A step is rays, forward, backward and optimizer. Beside it stand the way back of the render and of the emptiness loss
alone (together they share the samples: "backward" is less than their sum) and the step's peak memory (on Linux).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import statistics
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does

import torch
from torch import Tensor
from torch.nn import functional as F

from scorelift.core.camera_samplers import RingSampler
from scorelift.kernels.composite import BETA, weights_dense
from scorelift.recipes.optimizers import Adamax
from scorelift.scenes import Field, VoxelConfig, VoxelField
from scorelift.scenes.fields import Rays, Sums

PARTS = ("rays", "forward", "backward", "optimizer")
ALONE = ("render back", "empty back")


def dense(field: VoxelField, rays: Rays, _: str) -> Sums:
    """Every sample of every ray, by torch's own grid_sample."""
    near, far = field.span(rays.origin, rays.direction)
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


def scene(kind: str, resolution: int, shape: str) -> VoxelField:
    """A field as optimization finds it at its start, on random numbers, and at its end (a ball with a soft skin)."""
    torch.manual_seed(0)
    field = VoxelField(VoxelConfig(resolution=resolution, step=0.5, prune_alpha=1e-6, shape=shape))
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


def resident(what: str) -> float:
    """MiB of memory that the process holds (VmRSS), or held at most since `forget_peak` (VmHWM)."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1024


def forget_peak() -> None:
    """Give freed memory back and let the peak begin anew."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def measure(form: str, field: VoxelField, repeat: int) -> tuple[dict[str, float], Sums]:
    """Median milliseconds of the parts of a step, its peak memory, and what it gathers."""
    optimizer = Adamax().build([{"params": list(field.parameters()), "lr": 0.0}])
    camera = RingSampler(count=8).ring()[torch.tensor([1])]
    samples: dict[str, list[float]] = {part: [] for part in (*PARTS, *ALONE)}
    for turn in range(-2, repeat + 1):  # two to warm up; the last one is for the memory, which it begins with little of
        if turn == repeat:
            field.zero_grad()
            gc.collect()
            forget_peak()
            before = resident("VmRSS")
        marks = [time.perf_counter()]
        origin, direction = camera.rays(64, 64)
        rays = Rays(origin.expand(4096, 3).contiguous(), direction.reshape(-1, 3), torch.full((4096,), 0.5))
        marks.append(time.perf_counter())
        sums = FORMS[form](field, rays, "albedo")
        marks.append(time.perf_counter())
        field.zero_grad()
        back(sums.colour, sums.fog)
        marks.append(time.perf_counter())
        optimizer.step()
        marks.append(time.perf_counter())
        if turn == repeat:
            peak = resident("VmHWM") - before
            break
        field.zero_grad()
        for name in ("colour", "fog"):
            again = FORMS[form](field, rays, "albedo")
            marks.append(time.perf_counter())
            back(getattr(again, name))
            marks.append(time.perf_counter())
            field.zero_grad()
        if turn >= 0:
            lasted = [1e3 * (end - start) for start, end in pairwise(marks)]
            for part, took in zip((*PARTS, *ALONE), (*lasted[:4], lasted[5], lasted[7]), strict=True):
                samples[part].append(took)
    row = {part: statistics.median(values) for part, values in samples.items()}
    return {**row, "step": sum(row[part] for part in PARTS), "peak_mib": peak}, sums


def back(*sums: Tensor) -> None:
    """Gradients of the sums' total."""
    torch.autograd.backward(sums, [torch.ones_like(part) for part in sums])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--shape", choices=("ball", "box"), default="ball", help="where rays enter the field")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    rows, columns = [], (*PARTS, "step", *ALONE)
    heads = "".join(f"{column + ' ms':>15}" for column in columns)
    print(f"{'scene':11}{'form':10}{heads}{'peak MiB':>10}{'faster':>9}{'apart':>10}")
    for kind in ("random", "initial", "converged"):
        field, first = scene(kind, args.resolution, args.shape), None
        for form in FORMS:
            row, sums = measure(form, field, args.repeat)
            first = first or (row["step"], sums)
            apart = float((sums.colour - first[1].colour).detach().abs().max())
            rows.append({"scene": kind, "form": form, **row, "faster": first[0] / row["step"], "apart": apart})
            figures = "".join(f"{row[column]:15.1f}" for column in columns)
            print(f"{kind:11}{form:10}{figures}{row['peak_mib']:10.0f}{rows[-1]['faster']:9.1f}{apart:10.1e}")
    if args.out is not None:
        args.out.write_text(
            json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=2) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
