"""Blind pairwise preference: a self-contained page that shows two turntables at a time, and the tally of its answers.

Ref: the user studies of DreamFlow (Sec. 4) and ProlificDreamer: 3-D consistency, fidelity to the prompt, realism.
"""

from __future__ import annotations

import base64
import html
import json
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ..core.errors import bad
from ..engine.run import Run
from .assets import check_different

QUESTIONS = {
    "consistency": "Which is more consistent from all sides?",
    "fidelity": "Which fits the words better?",
    "realism": "Which looks better made?",
}

SIDES = {"left", "tie", "right"}

_PAGE = """<!doctype html><html lang=en><meta charset=utf-8><title>Which is better?</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;text-align:center;color:#222}
video{width:46%;border-radius:8px;margin:.5rem}button{font:inherit;padding:.4rem 1.2rem;margin:.2rem;cursor:pointer}
textarea{width:100%;height:10rem}</style>
<h1 id=prompt></h1><div><video id=a autoplay loop muted playsinline></video><video id=b autoplay loop muted playsinline>
</video></div><div id=ask></div><p id=count></p><div id=end hidden><p>Save this as answers.json and run
<code>scorelift evaluate prefer --tally answers.json</code>.</p><textarea id=out readonly></textarea></div>
<script>const videos=__VIDEOS__,pairs=__PAIRS__,questions=__QUESTIONS__,answers=[];let i=0;
const el=id=>document.getElementById(id);function show(){if(i>=pairs.length){el('ask').hidden=el('count').hidden=true;
el('end').hidden=false;el('out').value=JSON.stringify(answers);return}const p=pairs[i],q=Object.keys(questions);
el('prompt').textContent=p.prompt;el('a').src=videos[p.left];el('b').src=videos[p.right];
el('count').textContent=(i+1)+' of '+pairs.length;const given={};const ask=el('ask');ask.textContent='';
for(const k of q){const row=document.createElement('p');row.textContent=questions[k]+' ';
for(const [name,side] of [['left','left'],['equal','tie'],['right','right']]){const b=document.createElement('button');
b.textContent=name;b.onclick=()=>{given[k]=side;for(const x of row.querySelectorAll('button'))x.disabled=x!==b;
if(Object.keys(given).length===q.length){answers.push({...p,answers:given});i++;show()}};row.append(b)}ask.append(row)}}
show()</script></html>
"""


def preference_page(runs: Sequence[Run], seed: int = 0) -> str:
    """The page for all pairs of runs that share a prompt; sides and order are shuffled, names hidden.

    Raises:
        ScoreliftError: if no two runs share a prompt, or one has no turntable.
    """
    videos, pairs = {}, []
    check_different(runs)
    for i, run in enumerate(runs):
        path = run.path / "turntable.mp4"
        if not path.exists():
            raise bad("run", expected="a run with a turntable.mp4", got=str(run.path))
        videos[str(i)] = "data:video/mp4;base64," + base64.b64encode(path.read_bytes()).decode()
    rng = random.Random(seed)
    for i, first in enumerate(runs):
        for j in range(i + 1, len(runs)):
            if first.prompt == runs[j].prompt:
                left, right = rng.sample([i, j], 2)
                names = {"left_run": str(runs[left].path), "right_run": str(runs[right].path)}
                pairs.append({"prompt": first.prompt, "left": str(left), "right": str(right), **names})
    if not pairs:
        raise bad("runs", expected="at least two runs of one prompt", got=f"{len(runs)} of different prompts")
    rng.shuffle(pairs)
    page = _PAGE.replace("__QUESTIONS__", json.dumps(QUESTIONS)).replace("__PAIRS__", _script(pairs))
    return page.replace("__VIDEOS__", json.dumps(videos))


def _script(value: Any) -> str:
    return json.dumps(value).replace("</", "<\\/").replace("<!--", html.escape("<!--"))


def tally(answers: Any) -> dict[str, dict[str, dict[str, int]]]:
    """Wins, ties and losses of each run, question by question.

    Raises:
        ScoreliftError: for anything but a list of answers as the page gives them.
    """
    result: dict[str, dict[str, Counter[str]]] = {question: {} for question in QUESTIONS}
    for given in answers if isinstance(answers, list) and answers else [answers]:
        if not _is_answer(given):
            raise bad("tally", expected="answers saved from the page", got=json.dumps(given)[:80])
        for question, side in given["answers"].items():
            for mine in ("left", "right"):
                entry = result[question].setdefault(given[f"{mine}_run"], Counter(wins=0, ties=0, losses=0))
                entry["ties" if side == "tie" else "wins" if side == mine else "losses"] += 1
    return {question: {run: dict(counts) for run, counts in rows.items()} for question, rows in result.items()}


def _is_answer(given: Any) -> bool:
    """Whether this is what the page gives for a pair: its runs, and a side for each question."""
    if not (isinstance(given, dict) and all(isinstance(given.get(f"{s}_run"), str) for s in ("left", "right"))):
        return False
    sides = given.get("answers")
    return (
        isinstance(sides, dict)
        and bool(sides)
        and sides.keys() <= QUESTIONS.keys()
        and {*map(str, sides.values())} <= SIDES
    )
