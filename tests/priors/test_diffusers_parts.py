"""Checkpoints that lack something, or are for another task: one sentence each, before anything large is loaded."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file

from scorelift.core.diffusion import Flow, Level
from scorelift.core.errors import ScoreliftError
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.registry import load_prior, sketch_prior


@pytest.fixture
def spoilt(checkpoints, tmp_path):
    """A copy of a checkpoint without a part, in its index or as a folder, or with other settings (...: without one)."""

    def spoil(kind, *, null=(), gone=(), **settings):
        folder = shutil.copytree(checkpoints[kind], tmp_path / "copy")
        for name in gone:
            shutil.rmtree(folder / name)
        for name, values in ({"model_index": {name: [None, None] for name in null}} | settings).items():
            path = folder / {"model_index": "model_index.json", "scheduler": "scheduler/scheduler_config.json"}.get(
                name, f"{name}/config.json"
            )
            changed = {**json.loads(path.read_text()), **values}
            path.write_text(json.dumps({field: value for field, value in changed.items() if value is not ...}))
        return folder

    return spoil


def refused(folder, match):
    """By loading, and by what counts memory without loading."""
    for look in (load_diffusers, lambda path: sketch_prior(str(path))):
        with pytest.raises(ScoreliftError, match=match) as caught:
            look(folder)
        assert str(caught.value).startswith("prior: ")


NEEDED = [
    *(("sd15", part) for part in ("unet", "vae", "scheduler", "text_encoder", "tokenizer")),
    *(("sdxl", part) for part in ("text_encoder_2", "tokenizer_2", "vae")),
    *(("sd3", part) for part in ("transformer", "text_encoder_2", "tokenizer")),
    ("if", "text_encoder"), ("if", "tokenizer"), ("pixart", "text_encoder"), ("dit", "vae"), ("ddpm", "unet"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "part"), NEEDED)
def test_a_part_that_is_none_is_said(kind, part, spoilt):
    refused(spoilt(kind, null=[part]), rf"expected an? {part} in .*model_index\.json")


@pytest.mark.parametrize(("kind", "part"), NEEDED)
def test_a_part_whose_folder_is_gone_is_said(kind, part, spoilt):
    refused(spoilt(kind, gone=[part]), rf"expected .*its {part}.*download may be incomplete")


def test_sdxl_wants_both_encoders_its_refiner_one(spoilt, checkpoints):
    refused(
        spoilt("sdxl", null=["text_encoder"]),
        "expected text encoders of 64 numbers a token, got 'text_encoder_2 of 32'",
    )
    assert load_diffusers(checkpoints["refiner"]).prompts.names == ("text_encoder_2", "tokenizer_2")


@pytest.mark.parametrize("null", [["text_encoder_3", "tokenizer_3"], ["text_encoder_3"]])
def test_stable_diffusion_3_reads_without_t5(null, spoilt, tmp_path):
    folder = spoilt("sd3", null=null)
    prior = load_diffusers(folder, cache=tmp_path)
    said = prior.encode_prompts(["a duck"]).tensors
    assert said["tokens"][:, :77].any()
    assert not said["tokens"][:, 77:].any()
    drawn = sketch_prior(str(folder))[0].encode_prompts(["a duck"]).tensors
    assert {name: t.shape for name, t in drawn.items()} == {name: t.shape for name, t in said.items()}


@pytest.mark.parametrize(("kind", "channels"), [("sd15", 9), ("sdxl", 9), ("if", 6)])
def test_a_network_for_another_task_is_refused(kind, channels, spoilt):
    """As inpainting's, under the name of the plain pipeline."""
    refused(
        spoilt(kind, unet={"in_channels": channels}), f"channels, .*got {channels}. That is a model for another task"
    )


def test_classes_that_are_not_there_are_said(spoilt):
    refused(spoilt("sd15", model_index={"unet": ["diffusers", "NoSuch"]}), "a network of diffusers .* got 'NoSuch'")


def test_what_cannot_be_read_is_said_in_one_line(spoilt, tmp_path):
    folder = spoilt("sd15")
    (folder / "text_encoder" / "model.safetensors").write_bytes(b"123")
    with pytest.raises(ScoreliftError, match=r"text_encoder.* is damaged") as caught:
        load_diffusers(folder, cache=tmp_path).encode_prompts(["a duck"])
    assert "\n" not in str(caught.value)
    (folder / "text_encoder" / "model.safetensors").rename(folder / "text_encoder" / "pytorch_model.bin")
    with pytest.raises(ScoreliftError, match="use_safetensors=False"):  # before a prompt is read
        load_diffusers(folder)


@pytest.mark.parametrize("part", ["text_encoder", "unet", "vae"])
def test_weights_that_lack_some_are_refused(part, spoilt, tmp_path):
    """Else they would be random numbers, or nowhere."""
    folder = spoilt("sd15")
    (file,) = (folder / part).glob("*.safetensors")
    weights = load_file(file)
    gone = sorted(name for name in weights if name.endswith("weight"))[:2]
    save_file({name: t for name, t in weights.items() if name not in gone}, file, {"format": "pt"})
    with pytest.raises(ScoreliftError, match=rf"the {part} in .* lacks 2 of its weights [(]{gone[0]}, {gone[1]}[)]"):
        load_diffusers(folder, cache=tmp_path).encode_prompts(["a duck"])


def test_encoders_of_several_variants_are_read(spoilt, checkpoints, tmp_path):
    folder = spoilt("sdxl")
    file = folder / "text_encoder_2" / "model.safetensors"
    half = {name: t.half() for name, t in load_file(file).items()}
    save_file(half, file.with_name("model.fp16.safetensors"), {"format": "pt"})
    file.unlink()
    found = load_diffusers(folder, cache=tmp_path).encode_prompts(["a duck"])
    wanted = load_diffusers(checkpoints["sdxl"], cache=tmp_path).encode_prompts(["a duck"])
    for name in wanted.tensors:
        torch.testing.assert_close(found.tensors[name], wanted.tensors[name], atol=2e-3, rtol=2e-3)


def test_a_model_of_one_file_is_refused_with_what_converts_it(tmp_path):
    save_file({"model.diffusion_model.out.2.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    for file in (tmp_path / "model.safetensors", tmp_path / "model.ckpt"):
        with pytest.raises(ScoreliftError, match="from_single_file"):
            load_prior(str(file))


@pytest.mark.parametrize("said", [{"use_dynamic_shifting": True}, {"invert_sigmas": True}, {"shift_terminal": 0.1}])
def test_flow_that_is_bent_is_refused(said, spoilt):
    (name, value), = said.items()  # fmt: skip
    refused(spoilt("sd3", scheduler=said), f"a fixed shift alone, got .* with {name} {value}")


def test_flow_is_told_time_in_the_steps_it_was_trained_at(spoilt):
    prior = load_diffusers(spoilt("sd3", scheduler={"num_train_timesteps": 500, "shift": 2.0}))
    assert prior.schedule == Flow(2.0)
    torch.testing.assert_close(prior.native(Level.vp(torch.tensor([1.0])))[1], torch.tensor([250.0]))


def test_flow_without_a_shift_is_refused(spoilt):
    refused(spoilt("sd3", scheduler={"shift": None}), "num_train_timesteps and shift above 0")


@pytest.mark.parametrize(("kind", "part", "values", "match"), [
    *((kind, part, {"sample_size": size}, f"a number above 0 as sample_size in .* its {part}, got None")
      for kind, part in (("sd15", "unet"), ("sdxl", "unet"), ("sd3", "transformer"), ("pixart", "transformer"),
                         ("dit", "transformer"), ("ddpm", "unet"), ("if", "unet"))
      for size in (None, ...)),
    ("sd15", "unet", {"sample_size": "large"}, "sample_size .* got 'large'"),
    ("sd15", "unet", {"sample_size": [8, 12]}, r"a square sample_size .* its unet, got \[8, 12\]"),
    ("ddpm", "unet", {"sample_size": [16]}, r"a square sample_size .* its unet, got \[16\]"),
    ("sd3", "transformer", {"sample_size": [8, 12]}, "a square sample_size .* its transformer"),
    ("sdxl", "text_encoder_2", {"projection_dim": ...}, "projection_dim .* its text_encoder_2, got None"),
    ("sdxl", "unet", {"cross_attention_dim": None}, "cross_attention_dim .* its unet, got None"),
    ("dit", "transformer", {"num_embeds_ada_norm": None}, "num_embeds_ada_norm .* its transformer, got None"),
    ("sd15", "vae", {"block_out_channels": ...}, "a list as block_out_channels .* its vae, got None"),
    ("sd15", "vae", {"scaling_factor": None}, "scaling_factor .* its vae, got None"),
    ("sd15", "scheduler", {"beta_schedule": "foo"}, r"the scheduler in .* cannot be loaded \(foo is not implemented"),
    ("sd15", "scheduler", {"num_train_timesteps": None}, "the scheduler in .* cannot be loaded"),
    ("sd15", "unet", {"block_out_channels": None}, "the unet in .* cannot be loaded"),
    ("sd3", "transformer", {"patch_size": None}, "the transformer in .* cannot be loaded"),
    ("sd15", "model_index", {"vae": ["diffusers", "AutoencoderTiny"]}, "an AutoencoderKL as its vae, got 'Autoencoder"),
])  # fmt: skip
def test_configurations_that_are_not_understood_are_said(kind, part, values, match, spoilt):
    """With the component, the field and what is there."""
    refused(spoilt(kind, **{part: values}), match)


def test_a_square_may_be_said_twice(spoilt):
    assert load_diffusers(spoilt("sd15", unet={"sample_size": [8, 8]})).sizes == (8,)
