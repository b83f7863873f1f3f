"""The benchmark of real priors, in one call, with a tiny one in their place."""

import json
import sys

import pytest

pytest.importorskip("diffusers")

import real

STAGES = [("dreamfusion", "field"), ("sjc", "field"), ("quick", "shape"), ("quick", "surface")]


@pytest.mark.slow
def test_it_prints_a_row_for_each_stage(monkeypatch, capsys, tmp_path):
    out = tmp_path / "real.json"
    said = ["real.py", "--priors", "tiny", "--device", "cpu", "--steps", "1", "--warm", "1", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", said)
    real.main()
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| tiny")]
    rows = json.loads(out.read_text())["rows"]
    assert [(row["recipe"], row["stage"]) for row in rows] == STAGES
    for row, line in zip(rows, lines, strict=True):
        assert row["step"] > row["prior, ms"] > 0
        assert row["overhead"] == pytest.approx(row["step"] / row["prior, ms"])
        assert row["counted"] > 0
        assert line.count("|") == len(real.COLUMNS) + 1


def test_without_a_gpu_it_says_so(monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["real.py"])
    with pytest.raises(SystemExit):
        real.main()
    assert "no CUDA device; --priors tiny --device cpu" in capsys.readouterr().err


@pytest.mark.parametrize("name", real.FULL)
def test_every_architecture_is_built(name):
    prior = real.build(name, "meta", real.torch.float16)
    assert prior.net.dtype == real.torch.float16
