"""What a caption says: a `Spec`, how specs are drawn at random, and which combinations are held out of training."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache

from ..core.errors import bad, check_choice
from .accessories import ACCESSORIES
from .palette import COLOUR_NAMES
from .toys import KINDS

FINISHES = ("plain", "striped", "spotted", "two-tone")
SUPPORTS = tuple(name for name, kind in KINDS.items() if kind.carries is not None)
SPLIT_SEED = 20261121


@dataclass(frozen=True)
class Worn:
    """An accessory on a toy; `colour` None is the accessory's own."""

    name: str
    colour: str | None = None

    def __post_init__(self) -> None:
        check_choice("accessory", self.name, ACCESSORIES)
        if self.colour is not None:
            check_choice("colour", self.colour, COLOUR_NAMES)


@dataclass(frozen=True)
class Spec:
    """The object of a caption. Colours may be None: the kind's natural one, and the usual other one of a finish."""

    kind: str
    colour: str | None = None
    finish: str = "plain"
    second: str | None = None
    worn: tuple[Worn, ...] = ()
    support: str | None = None
    support_colour: str | None = None

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, KINDS)
        check_choice("finish", self.finish, FINISHES)
        if self.second is not None and (self.finish == "plain" or self.second == default_second(self.main_colour)):
            object.__setattr__(self, "second", None)  # one way to say one thing
        for name, colour in (("colour", self.colour), ("second", self.second), ("support_colour", self.support_colour)):
            if colour is not None:
                check_choice(name, colour, COLOUR_NAMES)
        if self.worn and KINDS[self.kind].head is None:
            raise bad("worn", expected=f"nothing: a {self.kind} has no head to wear it on", got=self.worn[0].name)
        if len(self.worn) > (1 if self.support else 2):
            raise bad("worn", expected="at most two accessories, one on a support", got=len(self.worn))
        if sum(ACCESSORIES[w.name].on_head for w in self.worn) > 1:
            raise bad("worn", expected="one accessory on top of the head", got=", ".join(w.name for w in self.worn))
        if self.support is not None:
            check_choice("support", self.support, SUPPORTS)

    @property
    def main_colour(self) -> str:
        """The colour it is painted with."""
        return self.colour or KINDS[self.kind].natural

    @property
    def second_colour(self) -> str:
        """The other colour of its finish."""
        return self.second or default_second(self.main_colour)

    @property
    def colours(self) -> tuple[str, ...]:
        """What it is painted with: one colour, or its finish's two, of which neither need be the first in a picture."""
        return (self.main_colour,) if self.finish == "plain" else (self.main_colour, self.second_colour)

    @property
    def structure(self) -> tuple[str, tuple[str, ...], str | None]:
        """What decides the shape of the scene: toys of one structure are built and rendered in one batch."""
        return self.kind, tuple(w.name for w in self.worn), self.support


def default_second(colour: str) -> str:
    """The other colour of a finish when the caption names only one."""
    return "black" if colour == "white" else "white"


@cache
def held_out() -> frozenset[tuple[str, str]]:
    """(kind, colour), (kind, accessory) and (kind, finish) pairs that no training picture shows.

    Every kind loses 2 of 12 colours (never its natural one), two kinds in three lose a finish, every wearer loses one
    accessory.
    """
    rng = random.Random(SPLIT_SEED)
    pairs: set[tuple[str, str]] = set()
    for name, kind in KINDS.items():
        others = [colour for colour in COLOUR_NAMES if colour != kind.natural]
        pairs |= {(name, colour) for colour in rng.sample(others, 2)}
        if rng.random() < 2 / 3:
            pairs.add((name, rng.choice(FINISHES[1:])))
        if kind.head is not None:
            pairs.add((name, rng.choice(list(ACCESSORIES))))
    return frozenset(pairs)


def traits(spec: Spec) -> set[str]:
    """What of a spec can be held out together with its kind."""
    return {spec.finish, spec.main_colour, *(w.name for w in spec.worn)}


def is_held_out(spec: Spec) -> bool:
    """Whether the spec shows a combination that training never does."""
    pairs = held_out()
    return any((spec.kind, trait) in pairs for trait in traits(spec))


def training_colours(kind: str) -> tuple[str, ...]:
    """Main colours a kind has in training."""
    return tuple(c for c in COLOUR_NAMES if (kind, c) not in held_out())


def draw_structure(rng: random.Random, *, train: bool = True) -> tuple[str, tuple[str, ...], str | None, str]:
    """Draw (kind, accessories, support, finish) as the training set has them."""
    pairs = held_out() if train else frozenset()
    kind = rng.choice(list(KINDS))
    entry = KINDS[kind]
    worn: tuple[str, ...] = ()
    support = rng.choice(SUPPORTS) if entry.small and rng.random() < 0.12 else None
    if entry.head is not None and rng.random() < 0.5:
        able = [a for a in ACCESSORIES if (kind, a) not in pairs]
        worn = (rng.choice(able),)
        if support is None and rng.random() < 0.2:
            fits = [a for a in able if a != worn[0] and not (ACCESSORIES[a].on_head and ACCESSORIES[worn[0]].on_head)]
            worn = (worn[0], rng.choice(fits))
    finishes = [f for f in FINISHES[1:] if (kind, f) not in pairs]
    finish = rng.choice(finishes) if rng.random() < 0.36 else "plain"
    return kind, worn, support, finish


def draw_colours(rng: random.Random, spec: Spec, *, train: bool = True) -> Spec:
    """Draw the colours of a spec; one toy in eight leaves its own unsaid."""
    choices = training_colours(spec.kind) if train else COLOUR_NAMES
    unsaid = rng.random() < 1 / 8 and spec.finish != "two-tone"
    colour = None if unsaid else rng.choice(choices)
    second = None
    if spec.finish != "plain":
        main = colour or KINDS[spec.kind].natural
        others = [c for c in choices if c != main]
        usual = default_second(main)
        second = None if usual in others and rng.random() < 0.4 else rng.choice(others)
    worn = tuple(Worn(w.name, rng.choice(COLOUR_NAMES) if rng.random() < 0.6 else None) for w in spec.worn)
    support_colour = rng.choice(COLOUR_NAMES) if spec.support and rng.random() < 0.5 else None
    return replace(spec, colour=colour, second=second, worn=worn, support_colour=support_colour)


def draw(rng: random.Random, *, train: bool = True) -> Spec:
    """Draw a whole spec; with `train`, one that is not held out."""
    kind, worn, support, finish = draw_structure(rng, train=train)
    bare = Spec(kind, finish=finish, worn=tuple(Worn(w) for w in worn), support=support)
    return draw_colours(rng, bare, train=train)
