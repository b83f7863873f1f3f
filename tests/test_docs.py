"""Every command that the documents show can be given: its options exist and read what is written."""

import re
import shlex
from pathlib import Path

import pytest

from scorelift.cli import COMMANDS, main, options

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands(page: Path) -> list[list[str]]:
    """The words of each `scorelift ...` in a page's blocks of code and between backticks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines() + re.findall(r"`(scorelift [^`\n]+)`", text)
    found = []
    for line in lines:
        if re.match(r"(\w+=\S+ )*scorelift ", line.strip()) and not re.search(r"\.\.\.|[A-Z]{2,}-|[\[|]", line):
            words = shlex.split(line, comments=True)
            found.append(words[words.index("scorelift") + 1 :])
    return [words for words in found if " ".join(words) not in COMMANDS]  # a name alone is spoken of, not given


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_shown_can_be_given(page, monkeypatch, capsys):
    read = options.tyro.cli

    def only_read(command, **more):
        read(command, **more)
        return lambda: None

    monkeypatch.setattr(options.tyro, "cli", only_read)
    for words in commands(page):
        assert main(words) == 0, (words, capsys.readouterr().err)


def test_there_are_commands_shown():
    assert sum(len(commands(page)) for page in PAGES) > 100
