"""Marks of a prior: what is counted, and what the command says and writes."""

import json

import torch

from scorelift.cli import main
from scorelift.evaluate.prior import hits, true_pictures
from scorelift.toybox.judge import VIEWS, load_judge
from scorelift.toybox.spec import Spec


def test_true_pictures_are_read_as_what_they_are():
    prompts = [(Spec("car", "red"), view) for view in VIEWS] + [(Spec("mushroom", "green"), "front")]
    found = hits(load_judge()[0], true_pictures(prompts, torch.Generator().manual_seed(0)), prompts)
    assert [len(found[name]) for name in ("object", "colour", "view")] == [6, 6, 5]  # a mushroom has no front
    assert sum(found["object"]) >= 5
    assert sum(found["colour"]) >= 5
    assert sum(found["view"]) >= 4


def test_another_caption_is_a_miss():
    prompts = [(Spec("car", "red"), "front")]
    pictures = true_pictures(prompts, torch.Generator().manual_seed(0))
    found = hits(load_judge()[0], pictures, [(Spec("duck", "yellow"), "back")])
    assert not any(found[name][0] for name in ("object", "colour", "view"))


def test_of_two_colours_either_is_read():
    spec = Spec("car", "red", finish="two-tone", second="blue")
    pictures = true_pictures([(spec, "left")], torch.Generator().manual_seed(0))
    judge = load_judge()[0]

    def read(main: str, second: str) -> tuple[bool, bool]:
        found = hits(judge, pictures, [(Spec("car", main, finish="two-tone", second=second), "left")])
        return found["colour"][0], found["colour_main"][0]

    answers = [read("red", "blue"), read("blue", "red")]
    assert [either for either, _ in answers] == [True, True]
    assert sorted(main for _, main in answers) == [False, True]
    assert read("green", "white") == (False, False)


def test_the_command_gives_intervals(tmp_path, capsys):
    out = tmp_path / "marks.json"
    assert main(["evaluate", "prior", "--n", "4", "--steps", "2", "--out", str(out)]) == 0
    said, found = capsys.readouterr().out, json.loads(out.read_text())
    for key in ("object", "colour", "view", "heldout_object"):
        low, high = found["intervals"][key]
        assert 0 <= low <= found[key] <= high <= 1
        assert f"[{low:.1%}, {high:.1%}]" in said
        assert 0 <= found["truth"][key] <= 1
