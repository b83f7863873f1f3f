"""Files: what is added to a checkpoint, what is kept of it, and checkpoints that cannot be used."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

pytest.importorskip("diffusers")

from safetensors.torch import save_file
from tiny import noisy

from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import load_prior

PROMPTS = ["", "a red mushroom", "a duck, front view"]


def test_prompts_are_encoded_once_and_kept(checkpoints, tmp_path, monkeypatch):
    first = load_diffusers(checkpoints["sd15"], cache=tmp_path)
    kept = first.encode_prompts(PROMPTS)
    again = load_diffusers(checkpoints["sd15"], cache=tmp_path)
    monkeypatch.setattr(again.prompts, "_pipeline", lambda: pytest.fail("the text encoder was loaded"))
    for name, t in again.encode_prompts(PROMPTS).tensors.items():
        torch.testing.assert_close(t, kept.tensors[name], atol=0, rtol=0)


def test_bad_checkpoints_are_refused_with_what_helps(checkpoints, tmp_path):
    with pytest.raises(ScoreliftError, match="Did you mean sdxl"):
        load_prior("sdxll")
    with pytest.raises(ScoreliftError, match=r"scorelift priors get sd15"):
        load_prior("sd15")
    with pytest.raises(ScoreliftError, match=r"model_index\.json"):
        load_prior(str(tmp_path))
    (tmp_path / "v1.safetensors").touch()
    with pytest.raises(ScoreliftError, match="from_single_file"):
        load_prior(str(tmp_path))
    (tmp_path / "model_index.json").write_text('{"_class_name": "StableDiffusionInpaintPipeline"}')
    with pytest.raises(ScoreliftError, match="another task"):
        load_prior(str(tmp_path))
    with pytest.raises(ScoreliftError, match=r"precision: expected fp32 or bf16"):
        load_diffusers(checkpoints["sd15"], options=ModelOptions(precision="fp16"))


def copied(folder, target):
    """A copy of a checkpoint that may be spoilt."""
    return shutil.copytree(folder, target / "copy")


def test_pickles_are_refused_with_the_command_that_converts(checkpoints, tmp_path):
    folder = copied(checkpoints["sd15"], tmp_path)
    (folder / "unet" / "diffusion_pytorch_model.safetensors").rename(folder / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(ScoreliftError, match="use_safetensors=False"):
        load_diffusers(folder)
    (folder / "unet" / "diffusion_pytorch_model.bin").unlink()
    with pytest.raises(ScoreliftError, match="download may be incomplete"):
        load_diffusers(folder)


def test_what_is_not_understood_is_said(checkpoints, tmp_path):
    folder = copied(checkpoints["sd15"], tmp_path)
    path = folder / "scheduler" / "scheduler_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "prediction_type": "score"}))
    with pytest.raises(ScoreliftError, match="score"):
        load_diffusers(folder)
    path.write_text("{")
    with pytest.raises(ScoreliftError, match="cannot be read"):
        load_diffusers(folder)


def test_a_tokenizer_without_words_is_refused(checkpoints, tmp_path):
    folder = copied(checkpoints["sd15"], tmp_path)
    for file in (folder / "tokenizer").iterdir():
        if file.name in ("vocab.json", "merges.txt", "tokenizer.json"):
            file.unlink()
    prior = load_diffusers(folder, cache=tmp_path / "cache")
    with pytest.raises(ScoreliftError, match="download may be incomplete"):
        prior.encode_prompts(["a duck"])


def test_a_prompt_too_long_is_said_with_what_is_cut(checkpoints, tmp_path):
    prior = load_diffusers(checkpoints["sd15"], cache=tmp_path)
    with pytest.warns(UserWarning, match="cut: .*zebra"):
        prior.encode_prompts(["a red mushroom " * 10 + "zebra"])


def test_prompts_mean_nothing_to_a_model_of_pictures_alone(checkpoints):
    with pytest.warns(UserWarning, match="reads no prompts"):
        load_diffusers(checkpoints["ddpm"]).encode_prompts(["a duck"])


def test_a_learned_token_is_said(checkpoints, tmp_path):
    file = tmp_path / "thing.safetensors"
    save_file({"<thing>": torch.randn(1, 32)}, file)
    options = ModelOptions(textual_inversion=str(file))
    said = [load_diffusers(checkpoints["sd15"], options=o, cache=tmp_path / "cache").encode_prompts(["a <thing>"])
            for o in (None, options)]  # fmt: skip
    assert (said[0].tensors["tokens"] - said[1].tensors["tokens"]).abs().max() > 1e-3


def test_a_checkpoint_may_lie_in_one_folder(checkpoints, tmp_path):
    """As some of the oldest do: the scheduler's configuration and the network's side by side."""
    for name in ("model_index.json", "scheduler/scheduler_config.json", "unet/config.json",
                 "unet/diffusion_pytorch_model.safetensors"):  # fmt: skip
        shutil.copy(checkpoints["ddpm"] / name, tmp_path)
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "beta_end": 0.015}))
    prior = load_diffusers(tmp_path)
    assert prior.schedule != load_diffusers(checkpoints["ddpm"]).schedule  # its own, not a default
    level = Level.vp(torch.tensor([1.0]))
    z, noise = noisy(prior, level)
    assert prior.predict_x0(level.add_noise(z, noise), level, prior.encode_prompts([""])).shape == z.shape


def test_prompts_are_read_again_when_what_reads_them_changes(checkpoints, tmp_path):
    """Another file under the same name, or the same encoders beside another network, are not what was kept."""
    file, said = tmp_path / "thing.safetensors", []
    for seed in (1, 2):
        save_file({"<thing>": torch.randn(1, 32, generator=torch.Generator().manual_seed(seed))}, file)
        prior = load_diffusers(checkpoints["sd15"], options=ModelOptions(textual_inversion=str(file)), cache=tmp_path)
        said.append(prior.encode_prompts(["a <thing>"]).tensors["tokens"])
    assert (said[0] - said[1]).abs().max() > 1e-3
    before = load_diffusers(checkpoints["refiner"], cache=tmp_path).encode_prompts([""]).tensors["tokens"]
    folder = copied(checkpoints["refiner"], tmp_path)
    index = folder / "model_index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "force_zeros_for_empty_prompt": True}))
    after = load_diffusers(folder, cache=tmp_path).encode_prompts([""]).tensors["tokens"]
    assert before.any()
    assert not after.any()


def test_what_is_added_must_be_there_and_no_pickle(checkpoints, tmp_path):
    (tmp_path / "thing.pt").touch()
    with pytest.raises(ScoreliftError, match=r"model\.textual_inversion"):
        load_diffusers(checkpoints["sd15"], options=ModelOptions(textual_inversion=str(tmp_path / "thing.pt")))
    (tmp_path / "lora.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ScoreliftError, match=r"model\.lora"):
        load_diffusers(checkpoints["sd15"], options=ModelOptions(lora=str(tmp_path / "lora.safetensors")))
