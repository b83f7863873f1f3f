"""One self-contained HTML page that shows what a run was, what came out and how it went."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1060px;padding:0 1rem;color:#222;background:#fafafa}
h1{font-weight:600;font-size:1.6rem}h2{font-size:1.1rem;margin-top:2rem}img,video{max-width:100%;border-radius:6px}
table{border-collapse:collapse}td,th{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top}
pre{background:#eee;padding:1rem;border-radius:6px;overflow:auto;font-size:12px}svg{background:#fff;border-radius:6px}
figcaption{color:#666;font-size:13px}figure{margin:1rem 0}.top{display:flex;flex-wrap:wrap;gap:1rem;align-items:start}
#viewer canvas{width:480px;max-width:100%;height:400px;border-radius:6px;cursor:grab;touch-action:none}
"""


def _embed(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _viewer(asset: Path) -> str:
    """The mesh itself, to be turned with the mouse; hidden where there is no WebGL, as the video shows it too."""
    code = resources.files(__package__).joinpath("viewer.js").read_text(encoding="utf-8")
    data = base64.b64encode(asset.read_bytes()).decode()
    buttons = "".join(f"<button>{name}</button> " for name in ("Lit", "Colour", "Shape"))
    caption = f"<figcaption>{buttons}Drag to turn, wheel to come nearer.</figcaption>"
    return (
        f'<figure id="viewer" hidden><canvas></canvas>{caption}</figure>'
        f'<script id="glb" type="application/octet-stream">{data}</script>'
        f'<script defer>addEventListener("DOMContentLoaded",()=>{{{code}}})</script>'
    )


def curve(title: str, values: Sequence[float], width: int = 320, height: int = 120) -> str:
    """An SVG line chart of one series over steps."""
    if len(values) < 2:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    points = " ".join(
        f"{8 + i * (width - 16) / (len(values) - 1):.1f},{height - 8 - (v - low) / span * (height - 30):.1f}"
        for i, v in enumerate(values)
    )
    return (
        f'<svg width="{width}" height="{height}" role="img" aria-label="{html.escape(title)}">'
        f'<text x="8" y="15" font-size="12" fill="#444">{html.escape(title)}: {low:.3g} to {high:.3g}</text>'
        f'<polyline fill="none" stroke="#2563eb" stroke-width="1.5" points="{points}"/></svg>'
    )


VIEWS = ("From the front, counter-clockwise seen from above: front, left, back, right and between. "
         "Rows: colour, textureless, normal, depth.")  # fmt: skip


def report_html(
    folder: Path, prompt: str, facts: Mapping[str, Any], config: Mapping[str, Any], log: Sequence[Mapping[str, Any]]
) -> str:
    """The page's text; the mesh and pictures that exist in `folder` are embedded."""
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(prompt)}</title>"]
    parts.append(f"<style>{_STYLE}</style><h1>{html.escape(prompt)}</h1>")
    parts.append('<div class="top">')
    if (folder / "asset.glb").exists():
        parts.append(_viewer(folder / "asset.glb"))
    if (folder / "turntable.mp4").exists():
        video = _embed(folder / "turntable.mp4", "video/mp4")
        parts.append(f'<figure><video autoplay loop muted playsinline src="{video}"></video></figure>')
    parts.append("</div>")
    if (folder / "preview.png").exists():
        flat = not (folder / "asset.glb").exists()
        what, caption = ("pictures", "The pictures.") if flat else ("eight views", VIEWS)
        parts.append(f'<figure><img alt="{what}" src="{_embed(folder / "preview.png", "image/png")}">')
        parts.append(f"<figcaption>{caption}</figcaption></figure>")
    rows = "".join(f"<tr><th>{html.escape(str(k))}</th><td>{html.escape(str(v))}</td></tr>" for k, v in facts.items())
    parts.append(f"<h2>Facts</h2><table>{rows}</table><h2>Curves</h2>")
    for stage in dict.fromkeys(entry["stage"] for entry in log if "stage" in entry):
        entries = [entry for entry in log if entry.get("stage") == stage]
        keys = ("gradient", "opacity", "penalty", "time")
        parts += [curve(f"{stage}: {key}", [entry[key] for entry in entries if key in entry]) for key in keys]
    settings = html.escape(json.dumps(config, indent=2, ensure_ascii=False))
    parts.append(f"<h2>Settings</h2><pre>{settings}</pre></html>")
    return "\n".join(parts)
