"""Checkpoints of the real classes, tiny and with random weights, against diffusers' own parts; no published weights."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import DDIMScheduler, DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from tiny import KINDS, noisy

from scorelift.core.camera_samplers import OrbitSampler
from scorelift.core.diffusion import Flow, Level
from scorelift.core.errors import ScoreliftError
from scorelift.distill.prompts import ViewPrompts
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.checkpoint import Checkpoint

PROMPTS = ["", "a red mushroom", "a duck, front view"]


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


CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize("kind", ["sd15", "sd21", "sdxl", "refiner", "if", "pixart", "dit", "ddpm"])
def test_levels_and_predictions_are_those_of_the_scheduler(kind, checkpoints):
    prior = load_diffusers(checkpoints[kind])
    prior.net.double()
    scheduler = DDIMScheduler.from_config(
        Checkpoint.open(checkpoints[kind]).config("scheduler"),
        clip_sample=False, thresholding=False, set_alpha_to_one=False,
    )  # fmt: skip
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.set_timesteps(1000)
    steps = torch.tensor([20, 400, 900])
    level = prior.schedule.level(steps.double() / 999)
    z, noise = (t.double() for t in noisy(prior, level))
    z_t = scheduler.add_noise(z, noise, steps)
    torch.testing.assert_close(level.add_noise(z, noise), z_t, **CLOSE)
    torch.testing.assert_close(prior.native(level)[1], steps.double(), **CLOSE)
    condition = prior.encode_prompts([""] * 3)
    with torch.no_grad():
        tensors = {name: t.double() if t.is_floating_point() else t for name, t in condition.tensors.items()}
        out = prior.family.predict(prior.net, z_t, steps.double(), tensors)[:, : prior.channels]
        ours = prior.predict_x0(z_t, level, condition)
    for i, step in enumerate(steps):
        theirs = scheduler.step(out[i : i + 1], int(step), z_t[i : i + 1]).pred_original_sample
        torch.testing.assert_close(ours[i : i + 1], theirs, **CLOSE)
    v = scheduler.get_velocity(z, noise, steps)
    torch.testing.assert_close(level.v_from_x0(z_t, z), v, **CLOSE)


def test_flow_is_that_of_its_scheduler(checkpoints):
    prior = load_diffusers(checkpoints["sd3"])
    prior.net.double()
    assert prior.schedule == Flow(3.0)
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    places = torch.tensor([100, 500, 900])
    times = scheduler.timesteps.double()[places]
    level = prior.schedule.level((1000 - places).double() / 1000)
    z, noise = (t.double() for t in noisy(prior, level))
    z_t = scheduler.scale_noise(z, scheduler.timesteps[places], noise)
    torch.testing.assert_close(level.add_noise(z, noise), z_t.double(), **CLOSE)
    torch.testing.assert_close(prior.native(level)[1], times, **CLOSE)
    torch.testing.assert_close(level.flow_from_x0(level.add_noise(z, noise), z), noise - z, **CLOSE)
    condition = prior.encode_prompts([""] * 3)
    z_t = level.add_noise(z, noise)
    with torch.no_grad():
        tensors = {name: t.double() for name, t in condition.tensors.items()}
        velocity = prior.family.predict(prior.net, z_t, prior.native(level)[1], tensors)
        x0 = prior.predict_x0(z_t, level, condition)
    torch.testing.assert_close(x0, z_t - level.sigma_t.view(-1, 1, 1, 1) * velocity, **CLOSE)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("dit", "ddpm")])
def test_prompts_are_what_the_whole_pipeline_encodes(kind, checkpoints):
    prior = load_diffusers(checkpoints[kind])
    pipe = DiffusionPipeline.from_pretrained(checkpoints[kind])
    ours = prior.encode_prompts(["a red mushroom"]).tensors
    words = {"prompt_2": None, "prompt_3": None} if kind in ("sd3", "sd35") else {}
    theirs = pipe.encode_prompt("a red mushroom", do_classifier_free_guidance=False, device="cpu", **words, **(
        {"num_images_per_prompt": 1} if kind in ("sd15", "sd21") else {}))  # fmt: skip
    torch.testing.assert_close(ours["tokens"], theirs[0])
    if kind in ("sdxl", "refiner", "sd3", "sd35"):
        torch.testing.assert_close(ours["pooled"], theirs[2])


def test_refiner_and_sdxl_say_sizes_and_scores(checkpoints):
    xl = load_diffusers(checkpoints["sdxl"]).encode_prompts(PROMPTS).tensors
    assert xl["sizes"].tolist() == [[16, 16, 0, 0, 16, 16]] * 3
    assert not xl["tokens"][0].any()  # force_zeros_for_empty_prompt
    assert not xl["pooled"][0].any()
    fine = load_diffusers(checkpoints["refiner"]).encode_prompts(PROMPTS).tensors
    assert fine["sizes"].tolist() == [[16, 16, 0, 0, 2.5], [16, 16, 0, 0, 6], [16, 16, 0, 0, 6]]
    assert fine["tokens"][0].any()


@pytest.mark.parametrize("kind", ["sdxl", "refiner"])
def test_what_is_not_wanted_is_said_as_the_pipeline_says_it(kind, checkpoints):
    """Whatever the negative prompt: the refiner is told a low aesthetic score."""
    prior = load_diffusers(checkpoints[kind])
    pipe = DiffusionPipeline.from_pretrained(checkpoints[kind])
    side, none = (16, 16), (0, 0)
    scores = {"aesthetic_score": 6.0, "negative_aesthetic_score": 2.5}
    places = {"original_size": side, "crops_coords_top_left": none, "target_size": side}
    scores |= {f"negative_{name}": place for name, place in places.items()}
    scores = scores if kind == "refiner" else {}
    theirs = pipe._get_add_time_ids(side, none, side, dtype=torch.float32, text_encoder_projection_dim=32, **scores)
    wanted, unwanted = theirs if kind == "refiner" else (theirs, theirs)
    terms = ViewPrompts(prior, "a duck", negative="blurry").terms(OrbitSampler().draw(2, torch.Generator()))
    assert terms.full.tensors["sizes"].tolist() == wanted.tolist() * 2
    assert terms.uncond.tensors["sizes"].tolist() == unwanted.tolist() * 2
    blurry = prior.encode_prompts(["blurry"]).tensors["tokens"]
    torch.testing.assert_close(terms.uncond.tensors["tokens"], blurry.expand(2, -1, -1))


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


def test_a_prompt_means_the_class_it_names(checkpoints):
    prior = load_diffusers(checkpoints["dit"])
    said = prior.encode_prompts(
        ["a Toadstool, front view", "a red mushroom", "two ducklings and a duck", "a mushroom", ""]
    )
    assert said.tensors["label"].tolist() == [1, 1, 0, 2, 3]
    with pytest.raises(ScoreliftError, match="names of classes"):
        prior.encode_prompts(["a zebra"])


@pytest.mark.parametrize("kind", ["if", "ddpm"])
@pytest.mark.parametrize("size", [8, 32])
def test_pixels_are_shown_at_the_size_the_model_was_trained_at(kind, size, checkpoints, generator):
    prior = load_diffusers(checkpoints[kind])
    (side,) = prior.sizes
    assert side == 16
    rgb = torch.rand(2, 3, size, size, generator=generator).requires_grad_()
    z = prior.encode(rgb)
    assert z.shape == (2, 3, 16, 16)
    torch.testing.assert_close(z.mean((2, 3)), rgb.mean((2, 3)) * 2 - 1, atol=0.02, rtol=0)
    z.sum().backward()
    torch.testing.assert_close(rgb.grad.sum(), torch.tensor(2.0 * 3 * 2 * 16 * 16))
    own = torch.rand(1, 3, 16, 16, generator=generator)
    assert torch.equal(prior.encode(own), own * 2 - 1)
