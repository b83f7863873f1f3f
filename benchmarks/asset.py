"""Seconds and peak memory of the default command, as a user runs it: a fresh process, import and export included.

python benchmarks/asset.py [--prompt "a red mushroom"] [--runs 3] [--out asset.json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", default="a red mushroom")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args, rest = parser.parse_known_args()
    rows = []
    for seed in range(args.runs):
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "run"
            options = ["--out", str(out), "--seed", str(seed), "--quiet", *rest]
            command = [sys.executable, "-m", "scorelift", "generate", args.prompt, *options]
            start = time.perf_counter()
            subprocess.run(command, check=True)
            wall = time.perf_counter() - start
            metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
            rows.append(
                {"seed": seed, "wall": wall, "peak_mib": metrics["peak_memory_mib"], **metrics["seconds_by_part"]}
            )
    keys = [key for key in rows[0] if key != "seed"]
    print("".join(f"{key:>12}" for key in ("seed", *keys)))
    for row in rows:
        print(f"{row['seed']:>12}" + "".join(f"{row[key]:12.1f}" for key in keys))
    print(f"{'median':>12}" + "".join(f"{statistics.median(row[key] for row in rows):12.1f}" for key in keys))
    if args.out is not None:
        args.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
