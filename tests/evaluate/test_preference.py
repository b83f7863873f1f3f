import json

import pytest

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.engine.run import Run
from scorelift.evaluate.preference import QUESTIONS, preference_page, tally
from scorelift.recipes import find_recipe


def runs(tmp_path, prompts):
    made = []
    for i, prompt in enumerate(prompts):
        run = Run.create(tmp_path / str(i), prompt, find_recipe("quick"))
        (run.path / "turntable.mp4").write_bytes(b"video %d" % i)
        made.append(run)
    return made


def test_pairs_share_a_prompt_and_hide_names(tmp_path):
    page = preference_page(runs(tmp_path, ["a red duck", "a red duck", "a mug", "a red </script> duck"]), seed=1)
    pairs = json.loads(page.split("pairs=")[1].split(",questions=")[0].replace("<\\/", "</"))
    assert len(pairs) == 1
    assert {pairs[0]["left"], pairs[0]["right"]} == {"0", "1"}
    assert page.count("</script>") == 1
    assert "http" not in page


def test_nothing_to_compare(tmp_path):
    with pytest.raises(ScoreliftError, match="one prompt"):
        preference_page(runs(tmp_path, ["a", "b"]))


def test_the_tally():
    base = {"left_run": "A", "right_run": "B"}
    answers = [
        {**base, "answers": dict.fromkeys(QUESTIONS, "left")},
        {"left_run": "B", "right_run": "A", "answers": {**dict.fromkeys(QUESTIONS, "tie"), "realism": "left"}},
    ]
    result = tally(answers)
    assert result["consistency"] == {"A": {"wins": 1, "ties": 1, "losses": 0}, "B": {"wins": 0, "ties": 1, "losses": 1}}
    assert result["realism"]["B"] == {"wins": 1, "ties": 0, "losses": 1}


def test_the_command_makes_the_page_and_tallies_it(tmp_path, capsys):
    first, second = (str(run.path) for run in runs(tmp_path, ["a red duck"] * 2))
    page = tmp_path / "new" / "prefer.html"
    assert main(["evaluate", "prefer", first, second, "--out", str(page)]) == 0
    assert page.read_text().startswith("<!doctype html>")
    answer = {"left_run": first, "right_run": second, "answers": dict.fromkeys(QUESTIONS, "right")}
    (tmp_path / "answers.json").write_text(json.dumps([answer]))
    capsys.readouterr()
    assert main(["evaluate", "prefer", "--tally", str(tmp_path / "answers.json")]) == 0
    assert f"consistency\n  {first}: 0 won, 0 equal, 1 lost\n  {second}: 1 won" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content",
    [
        None, "", "[", "3", "[]", "[3]", '{"left_run": "A"}', '[{"left_run": "A", "right_run": "B"}]',
        '[{"left_run": "A", "right_run": "B", "answers": {"taste": "left"}}]',
        '[{"left_run": "A", "right_run": "B", "answers": {"realism": "up"}}]',
        '[{"left_run": "A", "right_run": "B", "answers": {}}]',
    ],
)  # fmt: skip
def test_answers_that_are_none(tmp_path, capsys, content):
    path = tmp_path / "answers.json"
    if content is not None:
        path.write_text(content)
    assert main(["evaluate", "prefer", "--tally", str(path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("scorelift: tally: expected ")
    assert "answers saved from the page" in said
    assert len(said.splitlines()) == 1
