from scorelift.evaluate.tables import COLUMNS, as_markdown, cell


def mark(mean: float, n: int = 4) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1, "n": n}


def test_cells():
    assert cell(mark(0.5)) == "0.500 [0.400, 0.600]"
    assert cell(mark(0.5, n=1)) == "0.500 (n = 1)"
    assert [cell(value) for value in (None, 0.25, 3, "x")] == ["", "0.250", "3", "x"]


def table(lit: float, bare: float) -> list[str]:
    truth = {"r1_shaded": mark(lit), "r1_textureless": mark(bare), "kind_textureless": mark(0.9),
             "r1_shape": mark(0.6)}  # fmt: skip
    run = {"run": "runs/duck", "prompt": "a yellow duck", **dict.fromkeys(COLUMNS, 0.5), "janus": None}
    result = {"settings": {"scorer": "toybox", "candidates": 154}, "truth": truth, "mean": {}, "runs": [run]}
    return as_markdown(result).splitlines()


def test_a_scorer_of_little_accuracy_is_told():
    assert table(0.9, 0.9)[1].endswith("without colour 90.0%.")
    assert "with care" in table(0.7, 0.9)[1]
    low = table(0.9, 0.1)[1]
    assert "with care" not in low
    assert low.endswith("kind_textureless (90.0%) and r1_shape (60.0%), of captions that differ in shape, say more.")


def test_the_worlds_own_pictures_are_a_row():
    lines = table(0.9, 0.9)
    assert lines[-1].startswith("| the world's own pictures |  |  | 0.900 [0.800, 1.000] |")
    assert lines[-3].startswith("| duck | a yellow duck | 0.500 |")
    assert len({line.count("|") for line in lines[3:]}) == 1
