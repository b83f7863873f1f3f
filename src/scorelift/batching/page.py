"""index.html: all runs of a batch at a glance, on one self-contained page."""

from __future__ import annotations

import base64
import html
from collections import Counter
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from ..core.errors import ScoreliftError
from ..engine.outputs import check_solid
from ..engine.run import Run
from .ledger import Entry, relative
from .work import trace_of

ROWS = 4
"Of a preview of a scene; the first is in colour."
_WIDE = 768
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1060px;padding:0 1rem;color:#222;background:#fafafa}
h1{font-weight:600;font-size:1.6rem}figure{margin:1.4rem 0}img{max-width:100%;display:block;border-radius:6px}
figcaption b{font-weight:600}figcaption{color:#666;font-size:14px;margin-top:.2rem}.failed{color:#b91c1c}
"""


def index_html(out: Path, entries: Sequence[Entry]) -> str:
    """The page's text: a strip of views of each run, its prompt, and links to its report and its asset."""
    counts = Counter(entry.state for entry in entries)
    summary = ", ".join(f"{count} {state}" for state, count in counts.items())
    title = f"{len(entries)} run{'' if len(entries) == 1 else 's'}"
    head = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
    return "\n".join([
        f"{head}<style>{_STYLE}</style><h1>{title}</h1><p>{summary}</p>", *(_figure(out, e) for e in entries), "</html>"
    ])  # fmt: skip


def _figure(out: Path, entry: Entry) -> str:
    here = quote(relative(entry.folder, out))
    names = (("report.html", "report"), ("asset.glb", "asset.glb"), ("turntable.mp4", "turntable"))
    links = [f'<a href="{here}/{name}">{text}</a>' for name, text in names if (entry.folder / name).exists()]
    if (trace := trace_of(entry.folder)).exists():
        links.append(f'<a href="{quote(relative(trace, out))}">traceback</a>')
    took = f"{entry.seconds:.0f} s" if entry.state == "finished" and entry.seconds is not None else entry.state
    ranked = [] if entry.nats is None else [f"{entry.nats:.1f} nats" + ", <b>best</b>" * entry.best]
    told = html.escape(entry.label.removeprefix(f"{entry.prompt}, "))
    facts = " · ".join([told, took, *ranked, *links])
    wrong = f"<br><span class=failed>{html.escape(entry.error)}</span>" if entry.error else ""
    source = strip(entry.folder) if entry.state == "finished" else None
    prompt = html.escape(entry.prompt)
    image = f'<img alt="{prompt}" src="{source}">' if source else ""
    return f"<figure>{image}<figcaption><b>{prompt}</b> · {facts}{wrong}</figcaption></figure>"


def strip(folder: Path) -> str | None:
    """The views in colour of a run's preview, as a data URI; None if it has no preview that can be read."""
    try:
        with Image.open(folder / "preview.png") as file:
            picture = file.convert("RGB")
    except (OSError, ValueError):
        return None
    if _is_solid(folder):
        picture = picture.crop((0, 0, picture.width, max(1, picture.height // ROWS)))
    if picture.width > _WIDE:
        picture = picture.resize(
            (_WIDE, max(1, round(picture.height * _WIDE / picture.width))), Image.Resampling.LANCZOS
        )
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _is_solid(folder: Path) -> bool:
    try:
        check_solid(Run.open(folder), "strip")
    except ScoreliftError:
        return False
    return True
