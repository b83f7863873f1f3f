"""Where an optimization step's time goes: prior, render, backward, optimizer; overhead = step / prior forward.

    python benchmarks/step.py [--recipes quick] [--preset small] [--steps 40] [--out step.json]

Times of one run on one machine: compare columns, not days.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line does

import torch

from scorelift.engine.loop import Loop
from scorelift.priors.base import Prior
from scorelift.priors.registry import load_prior
from scorelift.recipes import RECIPES, Recipe, find_recipe
from scorelift.scenes import build_scene

PARTS = ("prior", "render", "backward", "optimizer")


class Clock:
    """Wraps calls and adds up their time by name, step by step."""

    def __init__(self) -> None:
        self.now: dict[str, float] = defaultdict(float)

    def wrap(self, name, call):
        def timed(*args, **kwargs):
            start = now()
            try:
                return call(*args, **kwargs)
            finally:
                self.now[name] += now() - start

        return timed


def now() -> float:
    """Seconds, when a GPU has done all that it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def measure(plan: Recipe, prior: Prior, steps: int, warm: int, device: str, middle: int = 300) -> list[dict]:
    """Median milliseconds of each part of a step, for each stage of a recipe, after up to `middle` steps of it.

    After none, each stage begins with its own scene: a mesh with a ball.
    """
    rows, scene, backward = [], None, torch.autograd.backward
    own = prior
    for name, stage in plan.stages().items():
        prior = own if stage.prior is None else load_prior(stage.prior, device, plan.model.plain())
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        predict = prior.predict_x0
        scene = build_scene(stage.scene, scene if middle else None)  # nothing to go on from after so few steps
        loop = Loop(name, stage, scene, prior, "a red mushroom", seed=0, device=device)
        for _ in range(min(stage.steps // 2, middle)):  # measure in the middle of the stage, on a scene as it then is
            loop.one_step()
        clock, samples = Clock(), defaultdict(list)
        prior.predict_x0 = clock.wrap("prior", predict)
        loop.scene.render = clock.wrap("render", loop.scene.render)
        torch.autograd.backward = clock.wrap("backward", backward)
        loop.optimizer.step = clock.wrap("optimizer", loop.optimizer.step)
        for i in range(warm + steps):
            clock.now.clear()
            start = now()
            loop.one_step()
            whole = now() - start
            if i >= warm:
                for part in PARTS:
                    samples[part].append(clock.now[part])
                samples["step"].append(whole)
        del loop.scene.render
        prior.predict_x0, torch.autograd.backward = predict, backward
        while loop.step < min(stage.steps, 2 * middle):  # the next stage begins with what this one leaves
            loop.one_step()
        loop.close()
        row = {part: 1e3 * statistics.median(values) for part, values in samples.items()}
        row["other"] = row["step"] - sum(row[part] for part in PARTS)
        row["overhead"] = row["step"] / row["prior"]
        if torch.cuda.is_available():
            row["peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        rows.append({"recipe": plan.name, "stage": name, **row, "portions": str(loop.portions)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", nargs="*", default=["quick"], choices=list(RECIPES))
    parser.add_argument("--preset")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    plans = [find_recipe(name, args.preset) for name in args.recipes]
    rows = [
        row for plan in plans
        for row in measure(plan, load_prior(plan.prior, args.device), args.steps, args.warm, args.device)
    ]  # fmt: skip
    show(rows)
    if args.out is not None:
        args.out.write_text(
            json.dumps({"threads": torch.get_num_threads(), "rows": rows}, indent=2) + "\n", encoding="utf-8"
        )


def show(rows: list[dict]) -> None:
    """Print the table."""
    columns = ("step", *PARTS, "other")
    print(f"{'recipe':16}{'stage':10}" + "".join(f"{c + ' ms':>14}" for c in columns) + f"{'overhead':>10}")
    for row in rows:
        print(
            f"{row['recipe']:16}{row['stage']:10}"
            + "".join(f"{row[c]:14.1f}" for c in columns)
            + f"{row['overhead']:10.2f}"
        )


if __name__ == "__main__":
    main()
