"""Checks of options before anything is loaded or drawn."""

from __future__ import annotations

import os

from ..core.errors import check_prompt


def sentence(prompt: str) -> str:
    """The prompt, read as UTF-8 whatever the terminal's language is.

    Raises:
        ScoreliftError: if nothing is said.
    """
    prompt = os.fsencode(prompt).decode("utf-8", "replace") if not _encodes(prompt) else prompt
    check_prompt(prompt)
    return prompt


def _encodes(text: str) -> bool:
    """Whether this is text, without bytes that could not be read."""
    return not any("\ud800" <= letter <= "\udfff" for letter in text)
