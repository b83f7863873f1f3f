import random

import pytest

from scorelift.core.errors import ScoreliftError
from scorelift.core.words import words
from scorelift.toybox.grammar import known_words, parse, say, view_phrase
from scorelift.toybox.spec import Spec, Worn, draw
from scorelift.toybox.views import AZIMUTHS, View, best_view, draw_view, fine_azimuth, quadrant


def test_captions_read_back_as_what_was_said():
    rng = random.Random(0)
    for _ in range(3000):
        spec, zoomed = draw(rng, train=False), rng.random() < 0.2
        view = draw_view(rng.uniform(-10, 90), rng.uniform(0, 360), rng)
        text = say(spec, view, rng, zoomed=zoomed)
        reading = parse(text)
        assert (reading.spec, reading.view) == (spec, view), text
        assert set(words(text)) <= known_words()


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("a red mushroom", Spec("mushroom", "red")),
        ("a spotted red toadstool", Spec("mushroom", "red", "spotted")),
        ("a mug with blue stripes", Spec("mug", None, "striped", "blue")),
        (
            "a DSLR photo of a duck wearing a top hat and a red scarf",
            Spec("duck", worn=(Worn("top hat"), Worn("scarf", "red"))),
        ),
        ("a striped white mug", Spec("mug", "white", "striped", "black")),
        ("a snowman", Spec("snowman")),
        ("a yellow crown", Spec("crown", "yellow")),
        (
            "a cat with a crown on a wooden table",
            Spec("cat", worn=(Worn("crown"),), support="table", support_colour="brown"),
        ),
        ("a red and white car", Spec("car", "red", "two-tone")),
    ],
)
def test_wordings(text, spec):
    assert parse(text).spec == spec


def test_zoom_and_prefixes():
    assert parse("a zoomed out DSLR photo of a red duck").zoomed
    assert not parse("a DSLR photo of a red duck").zoomed


@pytest.mark.parametrize("text", ["a purple griffin", "red and blue", "", "a duck on a duck"])
def test_what_is_no_caption(text):
    with pytest.raises(ScoreliftError, match="expected"):
        parse(text)


def test_accessories_need_a_head():
    with pytest.raises(ScoreliftError, match="no head"):
        Spec("mug", worn=(Worn("top hat"),))
    with pytest.raises(ScoreliftError, match="one accessory on top"):
        Spec("duck", worn=(Worn("top hat"), Worn("crown")))


def test_views_by_angle():
    assert [fine_azimuth(a) for a in range(0, 360, 45)] == list(AZIMUTHS)
    assert fine_azimuth(-22) == "front"
    assert fine_azimuth(23) == "front left"
    assert [quadrant(a) for a in (0, 44, 46, 134, 136, 226, 314, 316)] == [
        "front",
        "front",
        "left",
        "left",
        "back",
        "right",
        "right",
        "front",
    ]
    assert best_view(75, 0) == View("front", "overhead")
    assert view_phrase(best_view(5, 90)) == "left side view, low angle"


def test_mirroring_swaps_left_and_right():
    assert View("front left").mirrored() == View("front right")
    assert View("back", "high").mirrored() == View("back", "high")
