"""The command that makes the papers' figures and tables again."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from ..core.errors import bad


def reproduce(
    paper: Positional[str], study: Positional[str] = "", /, *, fast: bool = False, out: Path = Path("docs/results"),
    runs: Path = Path("runs/reproduce"), device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
) -> None:  # fmt: skip
    """Make a paper's figure or table again in the closed world; a stopped study continues.

    Args:
        paper: Whose; without a study, its studies are listed.
        study: Which.
        fast: A few prompts and steps: the shape of it, in twenty minutes to an hour.
        out: Folder of the page, picture and values.
        runs: Folder of the runs; finished ones are kept.
        device: Where to compute.
    """
    from ..core.files import check_folder
    from ..reproduce import STUDIES, Bench
    from ..reproduce.bench import write_index

    if paper not in STUDIES:
        raise bad("paper", expected=f"one of {', '.join(STUDIES)}", got=paper)
    if not study:
        for name, entry in STUDIES[paper].items():
            print(f"{name:<10} {entry.summary}")
        return
    if study not in STUDIES[paper]:
        raise bad("study", expected=f"one of {', '.join(STUDIES[paper])}", got=study)
    check_folder(out)
    check_folder(runs, "runs")
    entry = STUDIES[paper][study]
    scale = entry.fast if fast else entry.full
    bench = Bench(runs / paper, device=device, say=print)
    findings = entry.make(bench, scale)
    command = f"scorelift reproduce {paper} {study}" + (" --fast" if fast else "")
    prompts = ", ".join(scale.prompts) or "no prompt"
    seeds, steps = ", ".join(map(str, scale.seeds)), scale.steps or "the recipe's"
    note = (
        f"`{command}`: {prompts}; seeds {seeds}; {steps} steps; {bench.seconds / 60:.0f} minutes of runs. "
        f"95 % intervals over {'prompts' if any(scale.prompts) else 'seeds'}."
    )
    paths = findings.write(out, f"{paper}-{study}" + ("-fast" if fast else ""), note)
    for path in (*paths, write_index(out, paper)):
        print(path)
