"""Whether the prior's evidence (`scorelift rank`) tells true toys from two-faced ones, over every kind with a front.

    python benchmarks/evidence.py [--prior toybox] [--views 8] [--levels 8]

Prints nats a view of either; a row a kind, and how often the true one has more.
"""

from __future__ import annotations

import argparse
import statistics

from scorelift.evaluate.evidence import Evidence, gather
from scorelift.evaluate.janus import portraits, with_fronts
from scorelift.export.pictures import head_light
from scorelift.priors.registry import load_prior
from scorelift.toybox.grammar import say


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prior", default="toybox")
    parser.add_argument("--views", type=int, default=8)
    parser.add_argument("--levels", type=int, default=8)
    asked = parser.parse_args()
    prior, settings = load_prior(asked.prior), Evidence(views=asked.views, levels=asked.levels)
    cameras = settings.ring()
    lights = head_light(cameras, 0.4)
    rows = []
    print("| toy | words | view | words, two-faced | view, two-faced |\n|---|---|---|---|---|")
    for spec in with_fronts():
        row = []
        for two_faced in (False, True):
            pictures = portraits(spec, cameras, lights, two_faced=two_faced)
            nats = gather(prior, say(spec), pictures, cameras, settings)
            row += [float(nats.words.mean()), float(nats.view.mean())]
        rows.append(row)
        print(f"| {say(spec)} | " + " | ".join(f"{value:.1f}" for value in row) + " |", flush=True)
    print("| median | " + " | ".join(f"{statistics.median(column):.1f}" for column in zip(*rows, strict=True)) + " |")
    more = sum(view > other for _, view, _, other in rows)
    in_all = sum(a + b > c + d for a, b, c, d in rows)
    print(f"\nOf {len(rows)}, the true one has more nats for its view: {more}, in all: {in_all}.")


if __name__ == "__main__":
    main()
