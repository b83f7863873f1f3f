"""LoRA weights that a user has: of diffusers and of other tools, for this model and for another."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from diffusers import DiffusionPipeline
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from tiny import noisy

from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.options import ModelOptions

LAYERS = {  # of the tiny SDXL: as diffusers names them, as kohya's tools do
    "down_blocks.1.attentions.0": "input_blocks_3_1",
    "mid_block.attentions.0": "middle_block_1",
    "up_blocks.0.attentions.1": "output_blocks_1_1",
}


def loaded(folder, lora, **more):
    return load_diffusers(folder, options=ModelOptions(lora=str(lora), **more))


def said(prior):
    level = Level.vp(torch.tensor([1.0]))
    z, noise = noisy(prior, level)
    return prior.predict_x0(level.add_noise(z, noise), level, prior.encode_prompts(["a duck"]))


def saved(folder, target, net="unet", **config):
    """A LoRA of diffusers for a checkpoint, and the network it was made on."""
    pipe = DiffusionPipeline.from_pretrained(folder)
    changed = getattr(pipe, net)
    settings = LoraConfig(r=2, **{"lora_alpha": 2, "target_modules": ["to_q", "to_v"], "init_lora_weights": False,
                                  **config})  # fmt: skip
    changed.add_adapter(settings)
    about = {f"{net}_lora_adapter_metadata": settings.to_dict()} if config else {}
    pipe.save_lora_weights(target, **{f"{net}_lora_layers": get_peft_model_state_dict(changed)}, **about)
    return next(target.glob("*.safetensors")), changed


@pytest.mark.parametrize("kind", ["sd15", "sd3"])
def test_lora_weights_are_added(kind, checkpoints, tmp_path):
    pipe = DiffusionPipeline.from_pretrained(checkpoints[kind])
    net = pipe.unet if kind == "sd15" else pipe.transformer
    net.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    layers = {("unet_lora_layers" if kind == "sd15" else "transformer_lora_layers"): get_peft_model_state_dict(net)}
    pipe.save_lora_weights(tmp_path, **layers)
    level = Level.vp(torch.tensor([1.0]))
    plain = load_diffusers(checkpoints[kind])
    z, noise = noisy(plain, level)
    z_t, condition = level.add_noise(z, noise), plain.encode_prompts(["a duck"])
    before = plain.predict_x0(z_t, level, condition)
    file = str(next(tmp_path.glob("*.safetensors")))
    for where in (file, str(tmp_path)):
        changed = load_diffusers(checkpoints[kind], options=ModelOptions(lora=where)).predict_x0(z_t, level, condition)
        assert (changed - before).abs().max() > 1e-4
        plain.net = net  # the network that the adapter was made on
        torch.testing.assert_close(changed, plain.predict_x0(z_t, level, condition), atol=1e-4, rtol=1e-3)
    with pytest.raises(ScoreliftError, match=r"model\.lora"):
        load_diffusers(checkpoints[kind], options=ModelOptions(lora=str(tmp_path / "none.safetensors")))


def test_lora_weights_reach_the_words(checkpoints, tmp_path):
    pipe = DiffusionPipeline.from_pretrained(checkpoints["sd15"])
    pipe.text_encoder.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj"], init_lora_weights=False))
    pipe.save_lora_weights(tmp_path, text_encoder_lora_layers=get_peft_model_state_dict(pipe.text_encoder))
    options = ModelOptions(lora=str(tmp_path))
    said = [load_diffusers(checkpoints["sd15"], options=o, cache=tmp_path / "cache").encode_prompts(["a duck"])
            for o in (None, options, replace(options, text_bits=8))]  # fmt: skip
    theirs = pipe.encode_prompt("a duck", "cpu", 1, False)[0]
    assert (said[0].tensors["tokens"] - said[1].tensors["tokens"]).abs().max() > 1e-3
    torch.testing.assert_close(said[1].tensors["tokens"], theirs, atol=1e-4, rtol=1e-3)
    assert (said[2].tensors["tokens"] - theirs).norm() < 0.03 * theirs.norm()


def test_its_alpha_is_read(checkpoints, tmp_path):
    """Which diffusers writes into the file's metadata."""
    file, net = saved(checkpoints["sd15"], tmp_path, lora_alpha=16)
    plain = load_diffusers(checkpoints["sd15"])
    plain.net = net
    torch.testing.assert_close(said(loaded(checkpoints["sd15"], file)), said(plain), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("scale", [0.5, -1.0])
def test_files_of_other_tools_count_the_blocks_another_way(scale, checkpoints, tmp_path):
    generator = torch.Generator().manual_seed(3)
    plain, state = load_diffusers(checkpoints["sdxl"]), {}
    for ours, theirs in LAYERS.items():
        layer = plain.net.get_submodule(f"{ours}.transformer_blocks.0.attn2.to_k")
        down, up = (0.2 * torch.randn(*shape, generator=generator)
                    for shape in ((2, layer.in_features), (layer.out_features, 2)))  # fmt: skip
        name = f"lora_unet_{theirs}_transformer_blocks_0_attn2_to_k"
        state |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": torch.tensor(4.0)}
        layer.weight.data += scale * 4.0 / 2 * up @ down
    save_file(state, tmp_path / "kohya.safetensors")
    found = loaded(checkpoints["sdxl"], tmp_path / "kohya.safetensors", lora_scale=scale)
    for name, weight in plain.net.state_dict().items():
        torch.testing.assert_close(found.net.state_dict()[name], weight, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("of", "to", "match"),
    [("sd15", "sdxl", "does not fit the unet"), ("sd3", "sd15", "expected weights for a unet"),
     ("sd15", "pixart", "adds none to a PixArt"), ("sd15", "ddpm", "adds none to a DDPM")],
)  # fmt: skip
def test_one_for_another_model_is_refused(of, to, match, checkpoints, tmp_path, capfd):
    file, _ = saved(checkpoints[of], tmp_path, "transformer" if of == "sd3" else "unet", target_modules=["to_k"])
    with pytest.raises(ScoreliftError, match=match) as caught:
        loaded(checkpoints[to], file)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
    assert "unsuccessful" not in capfd.readouterr().err


def test_layers_that_this_model_has_not_are_said(checkpoints, tmp_path):
    file, _ = saved(checkpoints["sd15"], tmp_path)
    weights = load_file(file)
    first = next(name for name in weights if "lora_A" in name or "down" in name)
    head = first.split(".lora")[0]
    other = head.replace("attentions.0", "attentions.7")
    weights |= {name.replace(head, other): t.clone() for name, t in weights.items() if name.startswith(head)}
    save_file(weights, file)
    with pytest.warns(UserWarning, match="may be for another model"):
        loaded(checkpoints["sd15"], file)


def test_what_is_none_is_refused(checkpoints, tmp_path):
    (tmp_path / "lora.safetensors").write_bytes(b"no such thing")
    with pytest.raises(ScoreliftError, match="cannot be read"):
        loaded(checkpoints["sd15"], tmp_path / "lora.safetensors")
    save_file({"weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(ScoreliftError, match="with none of those"):
        loaded(checkpoints["sd15"], tmp_path / "other.safetensors")


def test_without_peft_the_command_that_installs_it_is_said(checkpoints, tmp_path, monkeypatch):
    save_file({"weight": torch.zeros(1)}, tmp_path / "lora.safetensors")
    own = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "peft" else own(name, *more))
    with pytest.raises(ScoreliftError, match=r"need the peft library.*pip install '\.\[diffusers\]'"):
        loaded(checkpoints["sd15"], tmp_path / "lora.safetensors")
