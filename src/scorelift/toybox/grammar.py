"""Captions of the closed world: how a spec and a view are said, and how a caption is read back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from ..core.errors import ScoreliftError, bad
from ..core.words import words
from .accessories import ACCESSORIES
from .palette import COLOUR_NAMES
from .spec import SUPPORTS, Spec, Worn, default_second
from .toys import KINDS
from .views import View

PREFIXES = ("", "a photo of ", "a picture of ", "a DSLR photo of ", "a rendering of ")
ZOOMED_PREFIXES = ("a zoomed out photo of ", "a zoomed out DSLR photo of ", "a wide angle zoomed out photo of ")
FILLERS = ("little", "small", "cute", "toy")
COLOUR_ALSO = {"gray": "grey", "violet": "purple", "teal": "turquoise", "cyan": "turquoise", "wooden": "brown"}
_AZIMUTH_FORMS = {
    "front": ("front view", "view from the front", "seen from the front"),
    "back": ("back view", "view from behind", "seen from the back", "rear view"),
    "side": ("side view", "seen from the side"),
    **{side: (f"{side} side view", f"view from the {side}", f"seen from the {side}") for side in ("left", "right")},
    **{
        f"{end} {side}": (f"{end} {side} view", f"view from the {end} {side}", f"three-quarter {end} {side} view")
        for end in ("front", "back")
        for side in ("left", "right")
    },
}
_OVERHEAD_FORMS = ("overhead view", "top view", "view from above")
_ANGLE = {"low": "low angle", "high": "high angle"}


def view_phrase(view: View, rng: random.Random | None = None) -> str:
    """What follows the comma; the first form of each without `rng`. Empty for a view that says nothing."""
    if view.elevation == "overhead":
        base = _choose(_OVERHEAD_FORMS, rng)
        return base if view.azimuth is None else f"{base}, {_choose(_AZIMUTH_FORMS[view.azimuth], rng)}"
    parts = [_choose(_AZIMUTH_FORMS[view.azimuth], rng)] if view.azimuth else []
    if view.elevation:
        parts.append(_ANGLE[view.elevation])
    return ", ".join(parts)


def _choose(forms: tuple[str, ...], rng: random.Random | None) -> str:
    return forms[0] if rng is None or rng.random() < 0.5 else rng.choice(forms)


def _article(phrase: str) -> str:
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def _noun_phrase(spec: Spec, noun: str, rng: random.Random | None) -> str:
    """Colours, finish and noun, the adjectives in one of the usual orders. A natural colour may stay unsaid."""
    c, s = spec.colour or "", spec.second_colour
    implied = s == default_second(spec.main_colour)
    if spec.finish == "plain":
        forms = [f"{c} {noun}"] * 6 + [f"plain {c} {noun}"]
    elif spec.finish == "two-tone":
        forms = [f"two-tone {c} and {s} {noun}", f"{c} and {s} two-tone {noun}", f"{c} and {s} {noun}"]
        if not c:
            forms = [f"two-tone {noun}"]
    else:
        worked, marks = ("striped", ("stripes",)) if spec.finish == "striped" else ("spotted", ("spots", "polka dots"))
        forms = [f"{c} {noun} with {s} {mark}" for mark in marks]
        forms += [f"{c} and {s} {worked} {noun}", f"{worked} {c} and {s} {noun}"] if c else []
        forms += [f"{worked} {c} {noun}", f"{c} {worked} {noun}"] if implied else []
    phrase = forms[0] if rng is None else rng.choice(forms)
    if rng is not None and rng.random() < 0.12:
        phrase = f"{rng.choice(FILLERS)} {phrase}"
    return " ".join(phrase.split())


def _worn_phrase(worn: Worn, rng: random.Random | None) -> str:
    entry = ACCESSORIES[worn.name]
    name = worn.name if rng is None or rng.random() < 0.8 else rng.choice((entry.name, *entry.also))
    phrase = f"{worn.colour} {name}" if worn.colour else name
    return phrase if name.endswith("es") else _article(phrase)


def say(spec: Spec, view: View | None = None, rng: random.Random | None = None, *, zoomed: bool = False) -> str:
    """A caption for a spec and a view; the plainest wording without `rng`, one a person might write with it."""
    kind = KINDS[spec.kind]
    noun = kind.name if rng is None or rng.random() < 0.75 else rng.choice((kind.name, *kind.also))
    text = _article(_noun_phrase(spec, noun, rng))
    if spec.worn:
        verb = "wearing" if rng is None else rng.choice(("wearing", "wearing", "with"))
        text += f" {verb} " + " and ".join(_worn_phrase(w, rng) for w in spec.worn)
    if spec.support:
        on = "on" if rng is None else rng.choice(("on", "on", "standing on", "on top of", "sitting on"))
        also = KINDS[spec.support].also
        name = spec.support if rng is None or rng.random() < 0.75 else rng.choice((spec.support, *also))
        colour = spec.support_colour
        text += f" {on} " + _article(f"{colour} {name}" if colour else name)
    if rng is not None and rng.random() < 0.5:
        text = rng.choice(ZOOMED_PREFIXES if zoomed else PREFIXES) + text
    elif zoomed:
        text = ZOOMED_PREFIXES[0] + text
    phrase = view_phrase(view or View(), rng)
    return f"{text}, {phrase}" if phrase else text


@dataclass(frozen=True)
class Reading:
    """What a caption was read as."""

    spec: Spec
    view: View
    zoomed: bool


@cache
def _phrases() -> dict[tuple[str, ...], tuple[str, str]]:
    """Every phrase with a meaning: its words -> (category, meaning)."""
    table: dict[tuple[str, ...], tuple[str, str]] = {}

    def enter(category: str, meaning: str, *texts: str) -> None:
        for text in texts:
            table[tuple(words(text))] = (category, meaning)

    for name, kind in KINDS.items():
        enter("noun", name, name, *kind.also)
    for name, item in ACCESSORIES.items():
        if name not in KINDS:
            enter("worn", name, name, *item.also)
    for name in COLOUR_NAMES:
        enter("colour", name, name)
    for also, name in COLOUR_ALSO.items():
        enter("colour", name, also)
    enter("finish", "striped", "striped", "stripes")
    enter("finish", "spotted", "spotted", "spots", "polka dots", "dotted", "dots")
    enter("finish", "two-tone", "two-tone")
    enter("finish", "plain", "plain")
    enter("wear", "", "wearing", "with", "in")
    enter("on", "", "on", "on top of", "standing on", "sitting on")
    enter("zoom", "", "zoomed out")
    for name, forms in _AZIMUTH_FORMS.items():
        enter("azimuth", name, *forms)
    enter("elevation", "overhead", *_OVERHEAD_FORMS)
    for name, text in _ANGLE.items():
        enter("elevation", name, text)
    for text in (*PREFIXES, *ZOOMED_PREFIXES):
        enter("prefix", "", *(w for w in words(text) if w not in ("zoomed", "out")))
    enter("filler", "", "a", "an", "the", "and", *FILLERS)
    return {key: value for key, value in table.items() if key}


def known_words() -> frozenset[str]:
    """Every word that some caption of the grammar uses."""
    return frozenset(word for phrase in _phrases() for word in phrase)


def _tags(text: str) -> Iterator[tuple[str, str]]:
    """Category and meaning of each phrase of a caption, the longest phrase first."""
    table = _phrases()
    longest = max(map(len, table))
    rest = words(text)
    while rest:
        for n in range(min(longest, len(rest)), 0, -1):
            if (found := table.get(tuple(rest[:n]))) is not None:
                yield found
                rest = rest[n:]
                break
        else:
            raise bad(
                "prompt", expected="words of the toybox grammar", got=rest[0], remedy="See `scorelift toybox words`."
            )


def parse(text: str) -> Reading:
    """Read a caption of the grammar back.

    Raises:
        ScoreliftError: for a word the grammar lacks, or a caption without an object.
    """
    spec: Spec | None = None
    view, zoomed = View(), False
    finish, colours, place = "plain", [], "noun"
    for category, meaning in _tags(text):
        if category == "colour":
            colours.append(meaning)
        elif category == "finish" and spec is None:
            finish = meaning
        elif category == "finish" and spec is not None:
            spec = replace(spec, finish=meaning, second=colours.pop() if colours else None)
        elif category in ("wear", "on"):
            place = category
        elif category == "azimuth":
            view = replace(view, azimuth=meaning)
        elif category == "elevation":
            view = replace(view, elevation=meaning)
        elif category == "zoom":
            zoomed = True
        elif category == "noun" and spec is None:
            spec = _bare(meaning, colours, finish)
            colours = []
        elif category in ("noun", "worn") and spec is not None:
            colour = colours.pop() if colours else None
            if place == "on" and meaning in SUPPORTS:
                spec = replace(spec, support=meaning, support_colour=colour)
            elif place == "wear" and meaning in ACCESSORIES:
                spec = replace(spec, worn=(*spec.worn, Worn(meaning, colour)))
            else:
                raise bad("prompt", expected="one object, what it wears, what it stands on", got=text)
    if spec is None:
        raise ScoreliftError(f"prompt: expected an object of the toybox ({', '.join(KINDS)}), got {text!r}.")
    return Reading(spec, view, zoomed)


def _bare(kind: str, colours: list[str], finish: str) -> Spec:
    if len(colours) > 1 and finish == "plain":
        finish = "two-tone"
    return Spec(kind, colours[0] if colours else None, finish, colours[1] if len(colours) > 1 else None)
