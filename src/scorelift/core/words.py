"""Words of a prompt."""

from __future__ import annotations

import re


def words(text: str) -> list[str]:
    """Lower-case words of a prompt; hyphens and apostrophes stay inside words."""
    return re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower().replace("’", "'"))
