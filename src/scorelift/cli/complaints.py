"""What the option parser complains of, as one sentence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile

from ..core.errors import ScoreliftError, bad

_PLAIN = {"INT": "an integer", "FLOAT": "a number", "STR": "text", "PATH": "a path"}


def complaint(printed: str, argv: Sequence[str], prog: str, places: Sequence[str]) -> ScoreliftError:
    """The error for what the parser printed in its frame.

    Args:
        argv: what it was given.
        prog: the command.
        places: names of what the command takes without an option, in order.
    """
    said = [line for line in printed.splitlines() if line.strip(" │─-╭╮╰╯")]  # the frame may be of spaces and dashes
    lines = [line[1:].rstrip(" │") for line in said[1:]]  # without the title
    text = " ".join(line.strip() for line in lines) or printed.strip()
    text = re.sub(rf" ?For full helptext, (run|see):? *{re.escape(prog)} --help", "", text)
    see = f"See {prog} --help."
    if "Missing from " in text:
        missing = [line.split()[0] for line in lines if re.match(r" {5}\S", line) and "--help" not in line]
        options = [name for name in missing if name.startswith("-")]
        last = [place.upper() for place in places][len(places) - len(missing) + len(options) :]
        names, example = last + options, ' For example: "a red mushroom".' if "PROMPT" in last else ""
        return ScoreliftError(f"{', '.join(names)}: expected a value, got none.{example} {see}")
    if found := re.search(r"Unrecognized options: (.*?)(?: Perhaps you meant|$)", text):
        return _strange(found[1].split(", "), lines, argv, see, places)
    if found := re.search(r"invalid choice '(.*?)' for argument '(.*?)'\. Expected one of \((.*?)\)", text):
        choices = re.findall(r"'(.*?)'", found[3])
        return bad(found[2], expected=f"one of {', '.join(choices)}", got=found[1], remedy=see)
    if found := re.search(r"Missing value for argument '(.*?)'\. Expected (\d+) values", text):
        many = "a value" if found[2] == "1" else f"{found[2]} values"
        return ScoreliftError(f"{found[1]}: expected {many}, got {'none' if many == 'a value' else 'fewer'}. {see}")
    if found := re.search(r"Error parsing (\S+?):.*Argument helptext: \1 (\S+(?: [A-Z]{3,}\b)*)", text):
        return bad(found[1], expected=_kind(found[2]), got=_given(found[1], argv), remedy=see)
    return ScoreliftError(f"{text.strip().rstrip('.')}. {see}")


def _strange(
    words: list[str], lines: list[str], argv: Sequence[str], see: str, places: Sequence[str]
) -> ScoreliftError:
    """Words the parser knows nothing of: options that do not exist, or a prompt without quotes."""
    options = [word for word in words if re.match(r"--?[A-Za-z]", word)]
    if options:
        near = [line.split()[0].rstrip(",") for line in lines if re.match(r" {5}-", line)][:3]
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        return ScoreliftError(f"{', '.join(options)}: no such option.{hint} {see}")
    before = list(takewhile(lambda word: not word.startswith("-"), argv))
    if "prompt" in places and words[0] in before:
        said = " ".join(before)
        return ScoreliftError(f'prompt: expected one sentence in quotes, got more words: {", ".join(words)}. '
                              f'For example: "{said}". {see}')  # fmt: skip
    return ScoreliftError(f"{', '.join(words)}: not expected here. {see}")


def _kind(metavar: str) -> str:
    """What an option takes, in words.

    >>> _kind("{None}|INT"), _kind("FLOAT FLOAT"), _kind("{pixels,mlp}")
    ('an integer', '2 numbers', 'one of pixels, mlp')
    """
    if re.fullmatch(r"(\w+)( \1)+", metavar):
        parts = metavar.split()
        return f"{len(parts)} {_PLAIN.get(parts[0], 'value').split()[-1]}s"
    kinds = [kind for kind in metavar.split("|") if kind != "{None}"]
    return " or ".join(
        _PLAIN.get(kind) or (f"one of {kind[1:-1].replace(',', ', ')}" if kind[0] == "{" else kind) for kind in kinds
    )


def _given(option: str, argv: Sequence[str]) -> str:
    """What was given to an option."""
    for i, word in enumerate(argv):
        name, equals, value = word.replace("_", "-").partition("=")
        if name == option.replace("_", "-"):
            after = takewhile(lambda part: not part.startswith("--"), argv[i + 1 :])
            return word[-len(value) :] if equals and value else " ".join(after)
    return " ".join(takewhile(lambda part: not part.startswith("--"), argv))
