"""Names of priors and the commands about them."""

import importlib.util

import huggingface_hub
import pytest
import torch

pytest.importorskip("diffusers")

from hub import refuse
from huggingface_hub.errors import HfHubHTTPError

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.priors.known import KNOWN
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import load_prior, sketch_prior


def test_a_path_that_is_not_there_is_no_hub_id():
    for name in ("./my-finetune", "two words/model"):
        with pytest.raises(ScoreliftError, match="prior"):
            load_prior(name)


def test_without_diffusers_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ScoreliftError, match=r"pip install '\.\[diffusers\]'"):
        load_prior("sd15")


def test_without_transformers_the_command_that_installs_it_is_said(checkpoints, monkeypatch):
    own = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else own(name))
    for look in (load_prior, sketch_prior):
        with pytest.raises(ScoreliftError, match=r"need the transformers library.*pip install '\.\[diffusers\]'"):
            look(str(checkpoints["sd15"]))


def test_the_commands(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse(HfHubHTTPError))
    assert main(["priors"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("toybox", *KNOWN))
    assert max(map(len, listed.splitlines())) <= 120
    lines = {line.split()[0]: line.split()[-3:] for line in listed.splitlines() if line and line[0] != " "}
    assert lines["name"] == ["denoiser", "text", "vae"]
    assert lines["sd15"] == ["3.4/1.7", "0.5/0.2", "0.3/0.2"]  # 4 and 2 bytes for each of 0.86, 0.123, 0.084 billion
    assert lines["sd3"] == ["8.3/4.2", "22.3/11.2", "0.3/0.2"]
    assert lines["if"] == ["17.2/8.6", "19.0/9.5", "-"]
    assert lines["faces"] == ["0.4/0.2", "-", "-"]
    assert main(["priors", "get", "sd99"]) == 2
    assert main(["priors", "check", "toybox", "--steps", "2", "--out", str(tmp_path / "c.png")]) == 0
    said = capsys.readouterr().out
    assert "pixels 64 x 64 x 3" in said
    assert (tmp_path / "c.png").exists()
    assert main(["priors", "check", "sd15"]) == 2
    assert "scorelift priors get sd15" in capsys.readouterr().err


@pytest.mark.parametrize("able", [True, False])
def test_bf16_that_a_card_only_emulates_is_refused(able, monkeypatch):
    """torch says that such a card supports it, unless it is asked about itself."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or able)
    options = ModelOptions(precision="bf16")
    if able:
        assert options.dtype(torch.device("cuda")) == torch.bfloat16
    else:
        with pytest.raises(ScoreliftError, match="precision: expected fp16 or fp32 on this card, got 'bf16'"):
            options.dtype(torch.device("cuda"))
