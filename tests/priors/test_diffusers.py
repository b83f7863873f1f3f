"""Checkpoints of the real classes, tiny and with random weights: no published weights are used here."""

from __future__ import annotations

import json
import os
import warnings
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import DDIMScheduler, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from tiny import KINDS, save

import scorelift
from scorelift.core.diffusion import Flow, Level
from scorelift.core.errors import ScoreliftError
from scorelift.distill.base import Terms
from scorelift.distill.baselines import DiffusionLoss
from scorelift.distill.noise import annealed
from scorelift.distill.sds import SDS
from scorelift.distill.sjc import SJC
from scorelift.distill.twin import Twin, TwinConfig
from scorelift.distill.vsd import VSD
from scorelift.engine.loop import Loop
from scorelift.engine.run import final_scene
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.checkpoint import Checkpoint
from scorelift.priors.guidance import Guidance
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import load_prior
from scorelift.priors.sampling import sample
from scorelift.recipes import find_recipe
from scorelift.scenes import build_scene

PROMPTS = ["", "a red mushroom", "a duck, front view"]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    os.environ["SCORELIFT_CACHE"] = str(folder / "cache")
    yield {kind: save(kind, folder) for kind in KINDS}
    del os.environ["SCORELIFT_CACHE"]


def noisy(prior, level):
    z = torch.randn(len(level), prior.channels, *prior.sizes * 2, generator=torch.Generator().manual_seed(1))
    return z, torch.randn(z.shape, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_denoises_alone_as_in_a_batch(kind, checkpoints):
    prior = load_diffusers(checkpoints[kind])
    condition = prior.encode_prompts(PROMPTS if kind != "ddpm" else [""] * 3)
    level = Level.vp(torch.tensor([0.3, 1.0, 4.0]))
    z, noise = noisy(prior, level)
    z_t = level.add_noise(z, noise)
    together = prior.predict_x0(z_t, level, condition)
    assert together.shape == z.shape
    assert together.isfinite().all()
    for i in range(3):
        alone = prior.predict_x0(z_t[i : i + 1], level[i : i + 1], condition.pick([i]))
        torch.testing.assert_close(alone, together[i : i + 1], atol=2e-4, rtol=1e-4)
    if kind != "ddpm":
        swapped = prior.predict_x0(z_t, level, condition.pick([1, 2, 0]))
        assert (swapped - together).abs().max() > 1e-5  # the words are heard


@pytest.mark.parametrize("kind", ["sd15", "sd21", "sd3", "ddpm"])
def test_the_noise_of_a_level_may_be_said_in_any_way(kind, checkpoints):
    """Variance-preserving or straight: the same ratio of noise to picture is the same question."""
    prior = load_diffusers(checkpoints[kind])
    condition = prior.encode_prompts([""] * 2)
    sigma = torch.tensor([0.5, 3.0])
    level, flow = Level.vp(sigma), Level(1 / (1 + sigma), sigma / (1 + sigma))
    z, noise = noisy(prior, level)
    one = prior.predict_x0(level.add_noise(z, noise), level, condition)
    other = prior.predict_x0(flow.add_noise(z, noise), flow, condition)
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", ["sd15", "sd21", "sdxl", "refiner", "if", "pixart", "dit", "ddpm"])
def test_levels_and_predictions_are_those_of_the_scheduler(kind, checkpoints):
    prior = load_diffusers(checkpoints[kind])
    scheduler = DDIMScheduler.from_config(
        Checkpoint.open(checkpoints[kind]).config("scheduler"), clip_sample=False, set_alpha_to_one=False
    )
    scheduler.set_timesteps(1000)
    steps = torch.tensor([20, 400, 900])
    level = prior.schedule.level(steps / 999)
    z, noise = noisy(prior, level)
    z_t = scheduler.add_noise(z, noise, steps)
    torch.testing.assert_close(level.add_noise(z, noise), z_t, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prior.native(level)[1], steps.float(), atol=2e-2, rtol=1e-4)
    condition = prior.encode_prompts([""] * 3)
    with torch.no_grad():
        out = prior.family.predict(prior.net, z_t, steps.float(), condition.tensors)[:, : prior.channels]
        ours = prior.predict_x0(z_t, level, condition)
    for i, step in enumerate(steps):
        theirs = scheduler.step(out[i : i + 1], int(step), z_t[i : i + 1]).pred_original_sample
        scale = float(level.sigma_ve[i])
        torch.testing.assert_close(ours[i : i + 1], theirs, atol=1e-3 * max(1, scale), rtol=1e-3)


def test_flow_is_that_of_its_scheduler(checkpoints):
    prior = load_diffusers(checkpoints["sd3"])
    assert prior.schedule == Flow(3.0)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    times = scheduler.timesteps[[100, 500, 900]]
    level = prior.schedule.level((torch.tensor([100, 500, 900]) - 1000).abs() / 1000)
    z, noise = noisy(prior, level)
    z_t = scheduler.scale_noise(z, times, noise)
    torch.testing.assert_close(level.add_noise(z, noise), z_t, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(prior.native(level)[1], times, atol=1e-2, rtol=1e-5)
    condition = prior.encode_prompts([""] * 3)
    with torch.no_grad():
        velocity = prior.family.predict(prior.net, z_t, times, condition.tensors)
        x0 = prior.predict_x0(z_t, level, condition)
    torch.testing.assert_close(x0, z_t - level.sigma_t.view(-1, 1, 1, 1) * velocity, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("dit", "ddpm")])
def test_prompts_are_what_the_whole_pipeline_encodes(kind, checkpoints):
    prior = load_diffusers(checkpoints[kind])
    pipe = DiffusionPipeline.from_pretrained(checkpoints[kind])
    ours = prior.encode_prompts(["a red mushroom"]).tensors
    words = {"prompt_2": None, "prompt_3": None} if kind == "sd3" else {}
    theirs = pipe.encode_prompt("a red mushroom", do_classifier_free_guidance=False, device="cpu", **words, **(
        {"num_images_per_prompt": 1} if kind in ("sd15", "sd21") else {}))  # fmt: skip
    torch.testing.assert_close(ours["tokens"], theirs[0])
    if kind in ("sdxl", "refiner", "sd3"):
        torch.testing.assert_close(ours["pooled"], theirs[2])


def test_prompts_are_encoded_once_and_kept(checkpoints, tmp_path, monkeypatch):
    first = load_diffusers(checkpoints["sd15"], cache=tmp_path)
    kept = first.encode_prompts(PROMPTS)
    again = load_diffusers(checkpoints["sd15"], cache=tmp_path)
    monkeypatch.setattr(again.prompts, "_pipeline", lambda: pytest.fail("the text encoder was loaded"))
    for name, t in again.encode_prompts(PROMPTS).tensors.items():
        torch.testing.assert_close(t, kept.tensors[name], atol=0, rtol=0)


def test_refiner_and_sdxl_say_sizes_and_scores(checkpoints):
    xl = load_diffusers(checkpoints["sdxl"]).encode_prompts(PROMPTS).tensors
    assert xl["sizes"].tolist() == [[16, 16, 0, 0, 16, 16]] * 3
    assert not xl["tokens"][0].any()  # force_zeros_for_empty_prompt
    assert not xl["pooled"][0].any()
    fine = load_diffusers(checkpoints["refiner"]).encode_prompts(PROMPTS).tensors
    assert fine["sizes"].tolist() == [[16, 16, 0, 0, 2.5], [16, 16, 0, 0, 6], [16, 16, 0, 0, 6]]
    assert fine["tokens"][0].any()


@pytest.mark.parametrize("kind", ["sd15", "sd3"])
def test_latents_come_back_and_carry_gradients(kind, checkpoints):
    prior = load_diffusers(checkpoints[kind])
    rgb = torch.rand(2, 3, 16, 16, requires_grad=True)
    z = prior.encode(rgb)
    vae = prior.latents.vae
    mean = vae.encode(rgb * 2 - 1).latent_dist.mean
    expected = (mean - (vae.config.shift_factor or 0)) * vae.config.scaling_factor
    torch.testing.assert_close(z, expected)
    decoded = vae.decode(mean).sample
    torch.testing.assert_close(prior.decode(z), ((decoded + 1) / 2).clamp(0, 1), atol=1e-5, rtol=1e-4)
    z.square().sum().backward()
    assert rgb.grad.abs().sum() > 0
    assert prior.encode(torch.rand(1, 3, 7, 7)).shape == (1, prior.channels, 8, 8)
    assert prior.linear_look().shape == (prior.channels + 1, 3)


DISTILLERS = {
    "sds": SDS(cfg_scale=7.5),
    "sjc": SJC(cfg_scale=7.5),
    "vsd": VSD(),
    "jacobian": DiffusionLoss(cfg_scale=7.5),
}


@pytest.mark.parametrize("method", DISTILLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_run_with_every_kind_and_distiller(kind, method, checkpoints, tmp_path):
    recipe = find_recipe("canvas", None)
    stage = recipe.picture
    stage = replace(stage, distiller=DISTILLERS[method], noise=annealed(0.8, 0.5), size=16, views=1, steps=3)
    recipe = replace(recipe, picture=stage, prior=str(checkpoints[kind]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ddpm says that it reads no prompts
        run = scorelift.generate("a red mushroom", out=tmp_path / "run", recipe=recipe, device="cpu", quiet=True)
    assert run.finished
    log = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert len(log) == 3
    assert all(entry["gradient"] > 0 for entry in log)


@pytest.mark.parametrize("recipe", ["quick", "sjc", "dreamfusion"])
@pytest.mark.parametrize("kind", ["sd15", "refiner", "if", "sd3"])
def test_a_step_of_every_recipe_reaches_the_scene(kind, recipe, checkpoints):
    preset = None if recipe == "quick" else "small"
    stage = next(iter(find_recipe(recipe, preset).stages().values()))
    prior = load_diffusers(checkpoints[kind])
    scene = build_scene(stage.scene)
    loop = Loop("stage", replace(stage, size=16, views=1), scene, prior, "a red mushroom", seed=0)
    before = {name: p.detach().clone() for name, p in scene.named_parameters()}
    assert loop.one_step().gradient > 0
    assert any(not torch.equal(before[name], p) for name, p in scene.named_parameters())


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "sd3"])
def test_half_precision_says_nearly_the_same(kind, checkpoints):
    level = Level.vp(torch.tensor([1.0]))
    outs = []
    for precision in ("fp32", "bf16"):
        prior = load_diffusers(checkpoints[kind], options=ModelOptions(precision=precision))
        z, noise = noisy(prior, level)
        outs.append(prior.predict_x0(level.add_noise(z, noise), level, prior.encode_prompts(["a duck"])))
    assert outs[0].dtype == outs[1].dtype == torch.float32
    assert (outs[0] - outs[1]).abs().max() < 0.05 * outs[0].abs().max()


def test_sampling_does_not_clip_latents(checkpoints):
    prior = load_diffusers(checkpoints["sd15"])
    assert prior.bound is None
    assert load_diffusers(checkpoints["ddpm"]).bound == 1.0
    condition = prior.encode_prompts(["", "a duck"])
    guidance = Guidance.cfg(condition.pick([1]), condition.pick([0]), 5.0)
    assert sample(prior, guidance, generator=torch.Generator().manual_seed(0), steps=3).shape == (1, 4, 8, 8)


@pytest.mark.parametrize("kind", ["sd15", "sd3"])
def test_lora_weights_are_added(kind, checkpoints, tmp_path):
    pytest.importorskip("peft")
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

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
    import shutil

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


@pytest.mark.parametrize("kind", ["sd15", "sd3"])
def test_a_run_in_latent_space_leaves_a_mesh_and_decoded_pictures(kind, checkpoints, tmp_path, monkeypatch):
    recipe = find_recipe("sjc", None)
    scene = replace(recipe.field.scene, resolution=16, density_scale=30.0, blob_sharpness=6.0)  # begins with a ball
    field = replace(recipe.field, scene=scene, size=8, steps=3)
    recipe = replace(recipe, field=field, prior=str(checkpoints[kind]),
                     finish=replace(recipe.finish, mesh_resolution=24, texture=64, turntable_frames=2))  # fmt: skip
    encode = type(load_prior(str(checkpoints[kind])).latents).encode
    shapes = []
    monkeypatch.setattr("scorelift.priors.diffusers.latents.Latents.encode",
                        lambda self, rgb: shapes.append(len(rgb)) or encode(self, rgb))  # fmt: skip
    run = scorelift.generate("a red mushroom", out=tmp_path / "run", recipe=recipe, device="cpu", quiet=True)
    assert shapes == [64]  # the linear look, once; no encoder in the loop
    assert {"asset.glb", "decoded.png", "preview.png"} <= {path.name for path in run.path.iterdir()}
    assert not final_scene(run).latent
    assert final_scene(run, coloured=False).field.albedo.shape[-1] == (4 if kind == "sd15" else 16)
    again = scorelift.generate("a red mushroom", out=tmp_path / "next", recipe=recipe, device="cpu", quiet=True,
                               start=run.path)  # fmt: skip
    assert again.finished


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("dit", "ddpm")])
def test_a_twin_shares_the_weights_and_learns_in_fp32(kind, precision, checkpoints):
    prior = load_diffusers(checkpoints[kind], options=ModelOptions(precision=precision))
    condition = prior.encode_prompts(["a duck", "a red mushroom"])
    terms = Terms(condition, condition, prior.encode_prompts([""] * 2), pose=torch.randn(2, 12))
    twin = Twin(prior, TwinConfig(rate=0.01), seed=0)
    assert len(twin.adapters.rows) >= 4
    assert len(twin.adapters.poses) == 1
    level = Level.vp(torch.tensor([0.5, 2.0]))
    z, noise = noisy(prior, level)
    z_t = level.add_noise(z, noise)
    before = prior.predict_x0(z_t, level, condition)
    torch.testing.assert_close(twin.x0(z_t, level, terms), before, atol=0, rtol=0)
    for step in range(2):
        twin.optimizer.zero_grad()
        twin.loss(z, terms, torch.Generator().manual_seed(step)).backward()
        twin.optimizer.step()
    for name, parameter in twin.adapters.named_parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad.abs().sum() > 0, name  # down projections learn once up projections are not 0
    assert (twin.x0(z_t, level, terms) - before).abs().max() > 0
    torch.testing.assert_close(prior.predict_x0(z_t, level, condition), before, atol=0, rtol=0)
    twin.adapters.remove()


def test_lora_weights_reach_the_words(checkpoints, tmp_path):
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipe = DiffusionPipeline.from_pretrained(checkpoints["sd15"])
    pipe.text_encoder.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["q_proj"], init_lora_weights=False))
    pipe.save_lora_weights(tmp_path, text_encoder_lora_layers=get_peft_model_state_dict(pipe.text_encoder))
    options = ModelOptions(lora=str(tmp_path))
    said = [load_diffusers(checkpoints["sd15"], options=o, cache=tmp_path / "cache").encode_prompts(["a duck"])
            for o in (None, options)]  # fmt: skip
    theirs = pipe.encode_prompt("a duck", "cpu", 1, False)[0]
    assert (said[0].tensors["tokens"] - said[1].tensors["tokens"]).abs().max() > 1e-3
    torch.testing.assert_close(said[1].tensors["tokens"], theirs, atol=1e-4, rtol=1e-3)


def test_a_learned_token_is_said(checkpoints, tmp_path):
    from safetensors.torch import save_file

    file = tmp_path / "thing.safetensors"
    save_file({"<thing>": torch.randn(1, 32)}, file)
    options = ModelOptions(textual_inversion=str(file))
    said = [load_diffusers(checkpoints["sd15"], options=o, cache=tmp_path / "cache").encode_prompts(["a <thing>"])
            for o in (None, options)]  # fmt: skip
    assert (said[0].tensors["tokens"] - said[1].tensors["tokens"]).abs().max() > 1e-3


def test_a_prompt_means_the_class_it_names(checkpoints):
    prior = load_diffusers(checkpoints["dit"])
    said = prior.encode_prompts(
        ["a Toadstool, front view", "a red mushroom", "two ducklings and a duck", "a mushroom", ""]
    )
    assert said.tensors["label"].tolist() == [1, 1, 0, 2, 3]
    with pytest.raises(ScoreliftError, match="names of classes"):
        prior.encode_prompts(["a zebra"])
