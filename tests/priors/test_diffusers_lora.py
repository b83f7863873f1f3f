"""LoRA weights that a user has: of diffusers and of other tools, for this model and for another."""

from __future__ import annotations

import importlib.util
import shlex
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("peft")

from diffusers import DiffusionPipeline
from peft import LoraConfig, get_peft_model
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


def factors(layer, rank=2, seed=4):
    """A down and an up for a layer, drawn."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns = layer.weight.shape[:2]
    return 0.2 * torch.randn(rank, columns, generator=generator), 0.2 * torch.randn(rows, rank, generator=generator)


def checked(found, plain, expected):
    """Hold what a network's weights differ by to what is expected, by layer; all else is as it was."""
    added = {f"{layer}.weight": change for layer, change in expected.items()}
    assert added.keys() <= plain.state_dict().keys()
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight + added.get(name, 0), atol=1e-5, rtol=1e-4)


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


def test_text_encoders_are_read_from_files_of_other_tools(checkpoints, tmp_path):
    """Whichever of its layers a file has, each with its own rank and alpha."""
    plain, state, wanted = load_diffusers(checkpoints["sdxl"]).prompts._pipeline(), {}, {}
    for encoder, theirs in (("text_encoder", "te1"), ("text_encoder_2", "te2")):
        net, wanted[encoder] = getattr(plain, encoder), {}
        start = "text_model." if hasattr(net, "text_model") else ""
        for rank, layer, alpha in ((2, "self_attn.q_proj", 4.0), (3, "mlp.fc1", 1.0)):
            layer = f"encoder.layers.1.{layer}"
            down, up = factors(net.get_submodule(start + layer), rank)
            name = f"lora_{theirs}_text_model_{layer.replace('.', '_')}"
            state |= {
                f"{name}.lora_down.weight": down,
                f"{name}.lora_up.weight": up,
                f"{name}.alpha": torch.tensor(alpha),
            }
            wanted[encoder][start + layer] = alpha / rank * up @ down
    save_file(state, tmp_path / "kohya.safetensors")
    found = loaded(checkpoints["sdxl"], tmp_path / "kohya.safetensors").prompts._pipeline()
    for encoder, expected in wanted.items():
        checked(getattr(found, encoder), getattr(plain, encoder), expected)


TO_K = "up_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
NAMES = {
    "peft": ("base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight"),
    "peft without a prefix": ("{}.lora_A.weight", "{}.lora_B.weight"),
    "diffusers": ("unet.{}.lora.down.weight", "unet.{}.lora.up.weight"),
    "the oldest": ("{}_lora.down.weight", "{}_lora.up.weight"),
}


@pytest.mark.parametrize("names", NAMES)
def test_names_of_the_wild(names, checkpoints, tmp_path):
    plain = load_diffusers(checkpoints["sd15"]).net
    down, up = factors(plain.get_submodule(TO_K))
    layer = TO_K.replace(".to_k", ".processor.to_k") if names == "the oldest" else TO_K
    save_file(
        {name.format(layer): t for name, t in zip(NAMES[names], (down, up), strict=True)}, tmp_path / "a.safetensors"
    )
    checked(loaded(checkpoints["sd15"], tmp_path).net, plain, {TO_K: up @ down})


@pytest.mark.parametrize(
    ("kind", "part", "alpha"),
    [("sd15", "unet", {}), ("sd15", "unet", {"use_rslora": True}), ("sd3", "transformer", {}),
     ("sd15", "unet", {"alpha_pattern": {"to_v": 3}}), ("sd15", "text_encoder", {}), ("refiner", "text_encoder_2", {})],
)  # fmt: skip
def test_what_peft_saves_is_read_with_its_settings(kind, part, alpha, checkpoints, tmp_path):
    pipe = DiffusionPipeline.from_pretrained(checkpoints[kind])
    layers = ["q_proj", "fc1"] if part.startswith("text") else ["to_q", "to_v"]
    config = LoraConfig(r=4, lora_alpha=10, target_modules=layers, init_lora_weights=False, **alpha)
    changed = get_peft_model(getattr(pipe, part), config)
    changed.save_pretrained(tmp_path)
    wanted = changed.merge_and_unload().state_dict()
    for where in (tmp_path, tmp_path / "adapter_model.safetensors"):
        prior = loaded(checkpoints[kind], where)
        found = getattr(prior.prompts._pipeline(), part) if part.startswith("text") else prior.net
        for name, weight in found.state_dict().items():
            torch.testing.assert_close(weight, wanted[name], atol=1e-5, rtol=1e-4)


def test_alpha_beside_the_weights_of_a_transformer(checkpoints, tmp_path):
    plain, layer = load_diffusers(checkpoints["sd3"]).net, "transformer_blocks.0.attn.to_q"
    down, up = factors(plain.get_submodule(layer))
    name = f"transformer.{layer}"
    state = {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up, f"{name}.alpha": torch.tensor(1.0)}
    save_file(state, tmp_path / "lora.safetensors")
    checked(loaded(checkpoints["sd3"], tmp_path / "lora.safetensors").net, plain, {layer: 0.5 * up @ down})


@pytest.mark.parametrize("scales", [0.5, (1.0, -0.6)])
def test_several_are_added(scales, checkpoints, tmp_path):
    """To the denoiser and to a text encoder, each by its scale."""
    plain = load_diffusers(checkpoints["sd15"])
    words, q_proj = plain.prompts._pipeline().text_encoder, "encoder.layers.1.self_attn.q_proj"
    files, net, text = [], 0, 0
    for seed, scale in enumerate(scales if isinstance(scales, tuple) else (scales, scales)):
        down, up = factors(plain.net.get_submodule(TO_K), seed=seed)
        state = {f"unet.{TO_K}.lora_A.weight": down, f"unet.{TO_K}.lora_B.weight": up}
        net = net + scale * up @ down
        down, up = factors(words.get_submodule(q_proj), seed=seed)
        state |= {f"text_encoder.{q_proj}.lora_A.weight": down, f"text_encoder.{q_proj}.lora_B.weight": up}
        text = text + scale * up @ down
        files.append(str(tmp_path / f"{seed}.safetensors"))
        save_file(state, files[-1])
    options = ModelOptions(lora=tuple(files), lora_scale=scales)
    found = load_diffusers(checkpoints["sd15"], options=options)
    checked(found.net, plain.net, {TO_K: net})
    checked(found.prompts._pipeline().text_encoder, words, {q_proj: text})
    others = [ModelOptions(lora=tuple(files)), ModelOptions(lora=files[0], lora_scale=0.5)]
    folder = {
        load_diffusers(checkpoints["sd15"], options=o).prompts.caches[0]._file("a duck") for o in (*others, options)
    }
    assert len(folder) == 3


def test_scales_are_one_for_all_or_one_for_each():
    assert ModelOptions(lora=("a", "b"), lora_scale=0.5).loras() == [("a", 0.5), ("b", 0.5)]
    assert ModelOptions(lora=("a", "b"), lora_scale=(0.5, 1.0)).loras() == [("a", 0.5), ("b", 1.0)]
    assert ModelOptions(lora=("a", "b"), lora_scale=(0.5, 1.0), textual_inversion="t").plain() == ModelOptions()
    for scales in ((), (1.0, 1.0)):
        with pytest.raises(ScoreliftError, match="lora_scale: expected one number, or one for each of 3 LoRAs"):
            ModelOptions(lora=("a", "b", "c"), lora_scale=scales)


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


def test_layers_that_a_text_encoder_has_not_are_said(checkpoints, tmp_path):
    state = {}
    for layer in (0, 5):
        name = f"lora_te_text_model_encoder_layers_{layer}_self_attn_q_proj"
        state |= {f"{name}.lora_down.weight": torch.ones(2, 32), f"{name}.lora_up.weight": torch.ones(32, 2)}
    save_file(state, tmp_path / "lora.safetensors")
    prior = load_diffusers(checkpoints["sd15"], options=ModelOptions(lora=str(tmp_path)), cache=tmp_path / "cache")
    with pytest.warns(UserWarning, match="changes 2 layers of a text_encoder, of which this one has 1; it may be for"):
        prior.encode_prompts(["a duck"])


def test_components_that_this_model_has_not(checkpoints, tmp_path):
    """Are said; a file for nothing else is refused."""
    name = "text_model.encoder.layers.1.self_attn.q_proj"
    state = {f"{name}.lora_A.weight": torch.ones(2, 32), f"{name}.lora_B.weight": torch.ones(32, 2)}
    first = {f"text_encoder.{key}": t for key, t in state.items()}
    save_file(first, tmp_path / "first.safetensors")
    save_file(first | {f"text_encoder_2.{key}": t.clone() for key, t in state.items()}, tmp_path / "both.safetensors")
    with pytest.raises(ScoreliftError, match=r"expected weights for a unet or a text_encoder_2, got .*none of those"):
        loaded(checkpoints["refiner"], tmp_path / "first.safetensors")
    with pytest.warns(UserWarning, match="also changes a text_encoder, which this StableDiffusionXLImg2Img"):
        loaded(checkpoints["refiner"], tmp_path / "both.safetensors")
    prior = load_diffusers(checkpoints["if"], options=ModelOptions(lora=str(tmp_path / "first.safetensors")),
                           cache=tmp_path / "cache")  # fmt: skip
    with pytest.raises(ScoreliftError, match="does not fit the text_encoder"):  # which is a T5
        prior.encode_prompts(["a duck"])


@pytest.mark.parametrize(("part", "kind"), [("hada_w1_a", "LoHa"), ("lokr_w1", "LoKr"), ("dora_scale", "DoRA")])
def test_other_kinds_are_refused_by_name(part, kind, checkpoints, tmp_path):
    save_file({f"lora_unet_mid_block_attentions_0_proj_in.{part}": torch.zeros(2, 2)}, tmp_path / "a.safetensors")
    with pytest.raises(ScoreliftError, match=rf"expected LoRA weights of diffusers, peft or .*, a {kind}'"):
        loaded(checkpoints["sd15"], tmp_path / "a.safetensors")


def test_a_folder_is_to_have_one_file_or_one_of_a_usual_name(checkpoints, tmp_path):
    with pytest.raises(ScoreliftError, match=r"a folder with pytorch_lora_weights\.safetensors or adapter_model"):
        loaded(checkpoints["sd15"], tmp_path)
    plain = load_diffusers(checkpoints["sd15"]).net
    for seed, name in enumerate(("a", "b", "pytorch_lora_weights")):
        down, up = factors(plain.get_submodule(TO_K), seed=seed)
        state = {f"unet.{TO_K}.lora_A.weight": down, f"unet.{TO_K}.lora_B.weight": up}
        save_file(state, tmp_path / f"{name}.safetensors")
        if name == "b":
            with pytest.raises(ScoreliftError, match=r"with a\.safetensors, b\.safetensors'\. Name the file\."):
                loaded(checkpoints["sd15"], tmp_path)
    checked(loaded(checkpoints["sd15"], tmp_path).net, plain, {TO_K: up @ down})


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".ckpt", ".pth"])
def test_a_pickle_is_refused_with_the_command_that_converts_it(suffix, checkpoints, tmp_path):
    plain, file = load_diffusers(checkpoints["sd15"]).net, (tmp_path / "my lora").with_suffix(suffix)
    down, up = factors(plain.get_submodule(TO_K))
    torch.save({f"unet.{TO_K}.lora_A.weight": down, f"unet.{TO_K}.lora_B.weight": up.T.contiguous().T}, file)
    for where in (file, tmp_path):
        with pytest.raises(ScoreliftError, match=r"model\.lora: .* is a pickle.* Convert it once: python -c") as caught:
            ModelOptions(lora=str(where)).check_files()
    exec(shlex.split(str(caught.value).split("once: ")[1])[2])
    checked(loaded(checkpoints["sd15"], tmp_path / "my lora.safetensors").net, plain, {TO_K: up @ down})


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
