"""`scorelift priors check`: what it says of a prior, its time and its memory."""

from __future__ import annotations

import shutil

import pytest
import torch

pytest.importorskip("diffusers")

from tiny import halve

from scorelift.cli import main
from scorelift.cli.measuring import Stretches, too_large
from scorelift.priors.options import ModelOptions


def checked(folder, tmp_path, capsys, *options):
    assert main(["priors", "check", str(folder), "--steps", "2", "--out", str(tmp_path / "c.png"), *options]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == str(tmp_path / "c.png")
    return {line[:9].strip(): line[10:] for line in lines[:-1]}


def test_it_says_what_a_checkpoint_is(checkpoints, tmp_path, capsys):
    folder = shutil.copytree(checkpoints["sdxl"], tmp_path / "copy")
    halve(folder, "vae")
    said = checked(folder, tmp_path, capsys, "--model.text-bits", "8", "--model.precision", "bf16")
    assert said["kind"].startswith("StableDiffusionXLPipeline: UNet2DConditionModel, ")
    assert said["precision"] == "unet bf16, vae bf16, text_encoder bf16 in 8 bits, text_encoder_2 bf16 in 8 bits"
    assert said["files"] == "unet plain, vae fp16, text_encoder plain, text_encoder_2 plain"
    assert said["predicts"] == "epsilon"
    assert "with guidance, on cpu; before, the first two " in said["a step"]
    assert "compiling" not in said["a step"]
    assert "memory" not in said
    assert checked("toybox", tmp_path, capsys)["kind"] == "ToyboxPrior"


def test_what_does_not_fit_is_told_with_options_it_has(checkpoints, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("CUDA error: out of memory. More. And more.")

    monkeypatch.setattr("scorelift.priors.sampling.sample", full)
    assert main(["priors", "check", str(checkpoints["sd15"]), "--out", str(tmp_path / "c.png")]) == 2
    said = capsys.readouterr().err
    assert said == (f"scorelift: memory: {checkpoints['sd15']} does not fit (CUDA error: out of memory. More). "
                    "What needs less: --model.precision bf16, --model.text-bits 8.\n")  # fmt: skip


@pytest.mark.parametrize(
    ("options", "able", "helps"),
    [
        ({}, True, "--model.offload, --model.precision bf16"),
        ({"compile": True}, False, "--model.offload in place of --model.compile, --model.precision bf16"),
        ({"offload": True, "precision": "fp32"}, False, "--model.precision bf16"),
        ({"precision": "bf16"}, True, "--model.offload"),
        ({"precision": "bf16"}, False, ""),
    ],
)
def test_on_a_card(options, able, helps, monkeypatch):
    monkeypatch.setattr("scorelift.priors.options.computes_bf16", lambda: True)
    said = str(too_large("sdxl", ModelOptions(**options), "cuda", torch.OutOfMemoryError("Full."), able=able))
    assert said == "memory: sdxl does not fit (Full)." + (f" What needs less: {helps}." if helps else "")


def test_memory_is_told_for_each_stretch(monkeypatch):
    peak = [0]
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda: peak.__setitem__(0, 0))
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: peak[0])
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    watch = Stretches("cuda")
    for name, most in (("text", 3 << 29), ("denoising", 1 << 30)):
        with watch(name):
            peak[0] = most
    assert watch.peaks == ["text 1.50", "denoising 1.00"]
    assert list(watch.seconds) == ["text", "denoising"]
    assert Stretches("cpu").peaks == []
