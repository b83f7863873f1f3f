"""Runs without a prompt are not made once for each."""

from scorelift.reproduce import Bench, Scale, sjc


def test_one_run_a_seed_without_a_prompt(tmp_path, monkeypatch):
    monkeypatch.setattr(sjc, "GUIDANCES", (0.0, 3.0))
    scale = Scale(prompts=("a yellow duck", "a red mushroom"), seeds=(0,), steps=1)
    findings = sjc.figure4(Bench(tmp_path, device="cpu"), scale)
    assert len(list(tmp_path.glob("canvas-*-no-prompt-*/*/metrics.json"))) == 2  # annealed, random
    assert len(list(tmp_path.glob("canvas-*-cfg-3-*/*/metrics.json"))) == 4
    assert findings.values["annealed, no prompt"]["object as asked"] is None
    assert findings.values["annealed, cfg 3"]["apart"]["n"] == 2
    assert "one run a seed" in findings.text
