import json

import pytest

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
