"""`scorelift evaluate`: how good assets and priors are. Libraries are imported when a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional

from ..core.errors import bad, check_at_least, check_finite, check_seed
from .options import FLAT


def evaluate(
    runs: Positional[tuple[Path, ...]],
    /,
    *,
    settings: Annotated[Any, FLAT] = None,
    captions: Path | None = None,
    out: Path | None = None,
) -> None:
    """Measure finished runs: retrieval precision, distance to the truth, Janus score.

    Args:
        runs: Folders of runs.
        settings: Every field of the evaluation.
        captions: A file of distractor captions, one a line; default: drawn from the toybox.
        out: Markdown (.md) or JSON (.json) to write.
    """
    from ..core.files import check_out, write_bytes, write_json
    from ..engine.run import Run
    from ..evaluate.assets import evaluate_runs
    from ..evaluate.tables import as_markdown

    if out is not None and out.suffix not in (".md", ".json"):
        raise bad("out", expected="a name ending in .md or .json", got=str(out))
    if out is not None:
        check_out(out)
    text = None if captions is None else _read("captions", captions, "captions, one a line")
    lines = None if text is None else [line.strip() for line in text.splitlines() if line.strip()]
    result = evaluate_runs([Run.open(path) for path in runs], settings, lines)
    print(as_markdown(result))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, result) if out.suffix == ".json" else write_bytes(out, as_markdown(result).encode())
        print(out)


def rank(
    run: Positional[tuple[Path, ...]],
    /,
    *,
    settings: Annotated[Any, FLAT] = None,
    prior: str | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    out: Path | None = None,
) -> None:
    """Ask the prior which of several runs of a prompt says it best, and shows each side where it should.

    Nats a view: how much likelier the prior finds the renders with the prompt than without (words), and, with the
    prompt, for knowing the camera (view; low or below 0 where a side is not what it should be, as with a second face).

    Args:
        run: Folders of finished runs.
        settings: How evidence is gathered.
        prior: Who is asked, by name or path; default each run's own.
        device: Where it computes.
        out: JSON to write.
    """
    from ..core.files import check_out, write_json
    from ..evaluate.evidence import rank as ranked

    if out is not None:
        check_out(out, ".json")
    rows = ranked(list(run), settings, prior=prior, device=device)
    wide = max(len(row["run"]) for row in rows)
    for place, row in enumerate(rows):
        if place == 0 or rows[place - 1]["prompt"] != row["prompt"]:
            print(f"{row['prompt']}\n{'':{wide + 2}}{'nats':>8}{'95 % over views':>18}{'words':>8}{'view':>8}")
        between = "[{:.1f}, {:.1f}]".format(*row["interval"])
        print(f"  {row['run']:{wide}}{row['nats']:>8.1f}{between:>18}{row['words']:>8.1f}{row['view']:>8.1f}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, {"settings": vars(settings), "runs": rows})
        print(out)


def _read(name: str, path: Path, what: str) -> str:
    """The text of a file that a user named."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise bad(name, expected=f"a file of {what}", got=str(path), remedy=f"({error})") from error


def evaluate_prefer(
    runs: Positional[tuple[Path, ...]] = (),
    /,
    *,
    out: Path = Path("prefer.html"),
    tally: Path | None = None,
    seed: int = 0,
) -> None:
    """Make a page for blind pairwise preference between runs of one prompt, or tally its answers.

    Args:
        runs: Folders of runs.
        out: HTML to write.
        tally: Answers saved from the page; prints wins, ties and losses instead.
        seed: Of the order and the sides.
    """
    import json

    from ..core.files import check_out, write_bytes
    from ..engine.run import Run
    from ..evaluate.preference import preference_page
    from ..evaluate.preference import tally as count

    if tally is not None:
        text = _read("tally", tally, "answers saved from the page")
        try:
            answers = json.loads(text)
        except json.JSONDecodeError as error:
            raise bad(
                "tally", expected="a file of answers saved from the page", got=str(tally), remedy=f"({error})"
            ) from error
        for question, rows in count(answers).items():
            print(question)
            for run, counts in rows.items():
                print(f"  {run}: {counts['wins']} won, {counts['ties']} equal, {counts['losses']} lost")
        return
    check_seed(seed)
    check_out(out, ".html")
    page = preference_page([Run.open(path) for path in runs], seed)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, page.encode())
    print(out)


def evaluate_prior(
    *, prior: str = "toybox", n: int = 400, cfg: float = 3.0, steps: int = 30, seed: int = 0, out: Path | None = None
) -> None:
    """Measure a prior with the judge: object, colour, view, held-out combinations; `told`: by the camera, not in words.

    A striped, spotted or two-tone toy's colour is either of its two; the JSON's `colour_main` is the one said first.

    Args:
        prior: A prior's name, or a weights file.
        n: Pictures for each figure.
        cfg: Guidance scale of the samples.
        steps: Sampling steps.
        seed: Of prompts and noise.
        out: JSON to write.
    """
    from ..core.files import check_out, write_json
    from ..evaluate.prior import evaluate_prior as measure
    from ..priors.registry import load_prior

    check_at_least("n", n)
    check_at_least("steps", steps, 2)
    check_finite("cfg", cfg)
    check_seed(seed)
    if out is not None:
        check_out(out, ".json")
    result = measure(load_prior(prior), n=n, cfg_scale=cfg, steps=steps, seed=seed)
    truth = result["truth"]
    print(f"{'':20}{'prior':>8}{'95 % interval':>18}{'true pictures':>16}")
    keys = ("object", "colour", "view", "heldout_object", "heldout_colour")
    for key in (*keys, *(f"told_{key}" for key in keys)):
        if key in result:  # some priors can be told no camera
            low, high = result["intervals"][key]
            between = f"[{low:.1%}, {high:.1%}]"
            print(f"{key:20}{result[key]:>8.1%}{between:>18}{truth[key.removeprefix('told_')]:>16.1%}")
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_json(out, result)
        print(out)
