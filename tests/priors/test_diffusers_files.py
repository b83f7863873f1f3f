"""Files: what is added to a checkpoint, what is kept of it, and checkpoints that cannot be used."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

pytest.importorskip("diffusers")

from safetensors.torch import save_file
from tiny import halve, noisy

from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.checkpoint import Checkpoint
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


@pytest.mark.parametrize(
    "halved", [("text_encoder",), ("text_encoder_2",), ("unet", "vae"), ("text_encoder_2", "unet")]
)
def test_components_may_have_fp16_alone_or_plain_weights_alone(checkpoints, tmp_path, halved):
    folder = copied(checkpoints["sdxl"], tmp_path)
    for component in halved:
        halve(folder, component, shard="20KB")
        assert Checkpoint(folder).variant(component) == "fp16"
        assert len(Checkpoint(folder).weights(component)) > 1
    found, plain = (load_diffusers(place, cache=tmp_path / "cache") for place in (folder, checkpoints["sdxl"]))
    for name, net in (("unet", found.net), ("vae", found.latents.vae)):
        other = {"unet": plain.net, "vae": plain.latents.vae}[name]
        for weight, whole in zip(net.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(weight, whole.half().float() if name in halved else whole, rtol=0, atol=0)
    said = [prior.encode_prompts(["a duck"]).tensors["tokens"] for prior in (found, plain)]
    off = (said[0] - said[1]).abs().amax((0, 1)).split(32)  # of each text encoder's part
    assert [0 < part.max() < 0.02 for part in off] == [f"text_encoder{n}" in halved for n in ("", "_2")]


def test_plain_weights_are_read_beside_others(checkpoints, tmp_path):
    """Of all files in a folder those of one variant, and of one with all its shards."""
    folder = copied(checkpoints["sd15"], tmp_path)
    name = "diffusion_pytorch_model.safetensors"
    for other in ("fp16", "non_ema", "ema", "fp32"):
        (folder / "unet" / f"diffusion_pytorch_model.{other}.safetensors").write_bytes(b"another's")
    assert Checkpoint(folder).weights("unet") == [folder / "unet" / name]
    load_diffusers(folder)
    (folder / "vae" / name).rename(folder / "vae" / "diffusion_pytorch_model-00001-of-00002.safetensors")
    with pytest.raises(ScoreliftError, match=r"expected all weights of its vae.*download may be incomplete"):
        load_diffusers(folder)
    halve(folder, "text_encoder", keep=True, shard="20KB")
    plain = folder / "text_encoder" / "model.safetensors"
    assert Checkpoint(folder).weights("text_encoder") == [plain]
    plain.rename(plain.with_name("model-00001-of-00002.safetensors"))
    assert Checkpoint(folder).variant("text_encoder") == "fp16"


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
