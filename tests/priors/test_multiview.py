"""MVDream: tiny checkpoints under the published names, against a plain reading of the published network; no weights."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")

import tiny
from diffusers import UNet2DConditionModel
from published import FULL, TINY, Published, random_weights, shapes
from safetensors.torch import load_file, save_file
from tiny import noisy

from scorelift.cli import main
from scorelift.core.camera_samplers import OrbitSampler, RingSampler, ring
from scorelift.core.cameras import Cameras, orbit
from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.distill.noise import Sigmas, annealed
from scorelift.distill.prompts import ViewPrompts
from scorelift.distill.sds import SDS
from scorelift.distill.sjc import SJC
from scorelift.distill.twin import Twin, TwinConfig
from scorelift.distill.vsd import VSD
from scorelift.engine.loop import Loop
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.multiview import build_multiview, camera_numbers, published_weights
from scorelift.priors.guidance import Guidance
from scorelift.priors.known import KNOWN
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import load_prior
from scorelift.priors.sampling import sample
from scorelift.recipes import find_recipe
from scorelift.scenes import build_scene

LEVEL = Level.vp(torch.tensor([0.5, 2.0]).repeat_interleave(4))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny checkpoint; encoded prompts are kept beside it."""
    where = tmp_path_factory.mktemp("multiview")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCORELIFT_CACHE", str(where / "cache"))
        yield tiny.multiview(where)


@pytest.fixture
def prior(folder):
    return load_prior(str(folder))


def poses(cameras: Cameras) -> torch.Tensor:
    return cameras.c2w[:, :3].flatten(1)


TWICE = ring(4)[torch.arange(8) % 4]


def inputs(views: int) -> tuple[torch.Tensor, ...]:
    """Noisy latents, times, words and cameras of two groups."""
    n = 2 * views
    z, words = torch.randn(n, 4, 8, 8), torch.randn(n, 5, TINY["context_dim"])
    return z, torch.tensor([400.0, 30.0]).repeat_interleave(views), words, torch.randn(n, 16)


def network(weights: dict[str, torch.Tensor], views: int) -> UNet2DConditionModel:
    net = build_multiview(TINY, views)
    net.load_state_dict(published_weights(weights, net))
    return net.eval()


@pytest.mark.parametrize("views", [1, 2, 4])
@torch.no_grad()
def test_the_network_computes_what_the_published_one_does(views):
    weights = random_weights(TINY)
    z, time, words, camera = inputs(views)
    ours = network(weights, views)(z, time, encoder_hidden_states=words, class_labels=camera).sample
    assert ours.std() > 0.1
    torch.testing.assert_close(ours, Published(weights, TINY, views)(z, time, words, camera), atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_of_one_view_it_is_diffusers_own_network():
    """The same class without a camera, and attention as diffusers has it: equal where the camera says nothing."""
    weights = random_weights(TINY)
    for name in ("camera_embed.2.weight", "camera_embed.2.bias"):
        weights[name] = torch.zeros_like(weights[name])
    net = network(weights, 1)
    settings = {**net.config, "class_embed_type": None, "projection_class_embeddings_input_dim": None}
    single = UNet2DConditionModel.from_config(settings)
    single.load_state_dict({name: t for name, t in net.state_dict().items() if not name.startswith("class_embedding")})
    z, time, words, camera = inputs(1)
    alone = single(z, time, encoder_hidden_states=words).sample
    torch.testing.assert_close(net(z, time, encoder_hidden_states=words, class_labels=camera).sample, alone)
    together = network(weights, 2)(z, time, encoder_hidden_states=words, class_labels=camera).sample
    assert (together - alone).abs().max() > 0.01


def test_names_and_shapes_at_full_size():
    """Names and shapes that the layout of the published code makes; their count is SD 2.1's and the camera's."""
    names = shapes(FULL)
    with torch.device("meta"):
        net = build_multiview(FULL)
        weights = {name: torch.empty(shape) for name, shape in names.items()}
    found = published_weights({f"model.diffusion_model.{name}": t for name, t in weights.items()}, net)
    assert {name: t.shape for name, t in found.items()} == {name: t.shape for name, t in net.state_dict().items()}
    assert len(names) == 686 + 4
    assert names["input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"] == (320, 1024)
    assert names["output_blocks.8.2.conv.weight"] == (640, 640, 3, 3)
    assert names["camera_embed.0.weight"] == (1280, 16)
    camera = 16 * 1280 + 1280 + 1280 * 1280 + 1280
    assert sum(math.prod(shape) for shape in names.values()) == 865_910_724 + camera
    assert KNOWN["mvdream"].parameters == pytest.approx((865_910_724 + camera) / 1e9, abs=0.005)


def test_a_camera_by_hand():
    """Before the object's front, 2 away and level: in Blender's axes on +x, looking along -x, at distance 1."""
    cameras = orbit(*(torch.tensor(v) for v in ([0.0, 0.0, 30.0], [0.0, 90.0, 0.0], [2.0, 3.0, 4.0], [40.0] * 3)))
    front, left, high = camera_numbers(poses(cameras)).view(3, 4, 4)
    expected = [[0.0, 0, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]]  # columns: right, up, back, place
    torch.testing.assert_close(front, torch.tensor(expected), atol=1e-6, rtol=0)
    expected = [[-1.0, 0, 0, 0], [0, 0, 1, 1], [0, 1, 0, 0], [0, 0, 0, 1]]  # its left is +y
    torch.testing.assert_close(left, torch.tensor(expected), atol=1e-6, rtol=0)
    torch.testing.assert_close(high[:3, 3], torch.tensor([math.sqrt(3) / 2, 0.0, 0.5]), atol=1e-6, rtol=0)
    torch.testing.assert_close(high[:3, 2], high[:3, 3], atol=1e-6, rtol=0)  # it looks at the origin


def test_it_loads_from_a_folder_and_runs_none_of_its_code(prior):
    assert (prior.views, prior.channels, prior.sizes, prior.prediction) == (4, 4, (8,), "epsilon")
    z, noise = noisy(prior, LEVEL)
    said = prior.seen(prior.encode_prompts(["a duck"] * 8), TWICE)
    x0 = prior.predict_x0(LEVEL.add_noise(z, noise), LEVEL, said)
    assert x0.shape == z.shape
    own, time = prior.native(LEVEL)
    camera = camera_numbers(said.tensors["pose"])
    theirs = Published(random_weights(TINY), TINY, 4)
    eps = theirs(own.add_noise(z, noise), time, said.tensors["tokens"], camera)
    torch.testing.assert_close(x0, own.x0_from_eps(own.add_noise(z, noise), eps), atol=1e-3, rtol=1e-3)


@torch.no_grad()
def test_views_of_a_group_hear_each_other_and_no_others(prior):
    z, _ = noisy(prior, LEVEL)
    said = prior.seen(prior.encode_prompts(["a duck"] * 8), TWICE)
    before = prior.predict_x0(z, LEVEL, said)
    z[2] += 1
    changed = (prior.predict_x0(z, LEVEL, said) - before).abs().amax((1, 2, 3))
    assert (changed[:4] > 1e-4).all()
    assert (changed[4:] == 0).all()
    moved = prior.seen(said, TWICE[torch.tensor([0, 1, 2, 3, 4, 6, 6, 7])])
    heard = (prior.predict_x0(z, LEVEL, moved) - prior.predict_x0(z, LEVEL, said)).abs().amax((1, 2, 3))
    assert (heard > 1e-5).tolist() == [False] * 4 + [True] * 4


def test_weights_are_known_by_the_names_of_a_whole_model(folder, prior, tmp_path):
    """As in the authors' own file, of which the text encoder and the autoencoder are left."""
    copy = shutil.copytree(folder, tmp_path / "copy")
    file = copy / "unet" / "diffusion_pytorch_model.safetensors"
    whole = {f"model.diffusion_model.{name}": t for name, t in load_file(file).items()}
    save_file(
        {**whole, "first_stage_model.quant_conv.bias": torch.zeros(8)}, copy / "unet" / "sd-v2.1-4view.safetensors"
    )
    file.unlink()
    again = load_prior(str(copy)).net.state_dict()
    assert all(torch.equal(t, again[name]) for name, t in prior.net.state_dict().items())


def test_what_is_no_such_network_is_refused(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    file, config = copy / "unet" / "diffusion_pytorch_model.safetensors", copy / "unet" / "config.json"
    weights = random_weights(TINY)
    for wrong, told in (
        ({**weights, "image_embed.latents": torch.zeros(1)}, "1 names more"),
        ({name: t for name, t in weights.items() if name != "out.0.bias"}, r"such as conv_norm_out\.bias"),
        ({**weights, "out.2.weight": torch.zeros(4, 32, 1, 1)}, r"such as conv_out\.weight"),
        ({"conv_in.weight": torch.zeros(1)}, r"camera_embed\.0\.weight"),
    ):
        save_file(wrong, file)
        with pytest.raises(ScoreliftError, match=told):
            load_diffusers(copy)
    file.write_bytes(b"no such thing")
    with pytest.raises(ScoreliftError, match="cannot be loaded"):
        load_diffusers(copy)
    file.rename(file.with_suffix(".bin"))
    with pytest.raises(ScoreliftError, match="pickles"):
        load_diffusers(copy)
    for change, told in (({"ip_dim": 16}, "ImageDream"), ({"camera_dim": 12}, "cameras of 16 numbers"),
                         ({"model_channels": None}, "model_channels in the configuration")):  # fmt: skip
        config.write_text(json.dumps({**TINY, **change}))
        with pytest.raises(ScoreliftError, match=told):
            load_diffusers(copy)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_half_precision_and_memory_layout(precision, folder, prior):
    other = load_diffusers(folder, options=ModelOptions(precision=precision, channels_last=True))
    z, _ = noisy(prior, LEVEL)
    said = prior.seen(prior.encode_prompts(["a duck"] * 8), TWICE)
    before, after = (one.predict_x0(z, LEVEL, said) for one in (prior, other))
    assert (before - after).abs().max() < (1e-4 if precision == "fp32" else 0.1) * before.abs().max()


def test_prompts_bring_the_cameras_with_every_condition(prior):
    cameras = OrbitSampler(group=4).draw(8, torch.Generator().manual_seed(0))
    prompts = ViewPrompts(prior, "a duck")
    assert len(prompts.encoded) == 2  # the prompt and none, no view phrases
    terms = prompts.terms(cameras)
    for condition in (terms.full, terms.plain, terms.uncond):
        torch.testing.assert_close(condition.tensors["pose"], poses(cameras))
    said = prior.encode_prompts(["a duck", ""]).tensors["tokens"]
    torch.testing.assert_close(terms.full.tensors["tokens"], said[:1].expand(8, -1, -1))
    torch.testing.assert_close(terms.uncond.tensors["tokens"], said[1:].expand(8, -1, -1))


def test_cameras_that_are_no_groups_are_refused(prior):
    prompts = ViewPrompts(prior, "a duck")
    prompts.terms(RingSampler(count=4).draw(8, torch.Generator().manual_seed(0)))  # in any order
    with pytest.raises(ScoreliftError, match=r"views: expected a multiple of 4.* got 6.*cameras\.group"):
        prompts.terms(ring(6))
    uneven = OrbitSampler().draw(4, torch.Generator().manual_seed(0))
    with pytest.raises(ScoreliftError, match=r"cameras: expected groups of 4.*cameras\.group to 4"):
        prompts.terms(uneven)
    with pytest.raises(ScoreliftError, match=r"cameras: expected groups of 4"):
        prompts.terms(ring(8)[torch.arange(0, 8, 2).repeat_interleave(2)])
    said = prior.encode_prompts(["a duck", ""])
    level = Level.vp(torch.ones(2))
    with pytest.raises(ScoreliftError, match="views: expected a multiple of 4"):  # not half a group of each
        Guidance.cfg(said.pick([0, 0]), said.pick([1, 1]), 5.0).x0(prior, torch.zeros(2, 4, 8, 8), level)
    with pytest.raises(ScoreliftError, match="cameras: expected one for each picture"):
        prior.predict_x0(torch.zeros(4, 4, 8, 8), level.repeat(2), said.pick([0] * 4))


def test_perp_neg_is_refused_for_there_are_no_view_phrases(prior):
    terms = ViewPrompts(prior, "a duck").terms(ring(4))
    with pytest.raises(ScoreliftError, match="perp_neg: expected 0 where prompts name no views"):
        SDS(perp_neg=1.0)(prior, torch.zeros(4, 4, 8, 8), terms, LEVEL[:4], torch.zeros(4, 4, 8, 8))


def test_a_twin_learns_of_all_views(prior):
    terms = ViewPrompts(prior, "a duck").terms(ring(4))
    twin = Twin(prior, TwinConfig(rate=0.01), seed=0)
    z, noise = noisy(prior, LEVEL[:4])
    z_t = LEVEL[:4].add_noise(z, noise)
    before = prior.predict_x0(z_t, LEVEL[:4], terms.full)
    torch.testing.assert_close(twin.x0(z_t, LEVEL[:4], terms), before, atol=0, rtol=0)
    for _ in range(2):
        twin.optimizer.zero_grad()
        twin.loss(z, terms, LEVEL[:4], noise).backward()
        twin.optimizer.step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in twin.adapters.parameters())
    assert (twin.x0(z_t, LEVEL[:4], terms) - before).abs().max() > 0
    twin.adapters.remove()


def test_sampling_draws_views_from_the_front_on(prior, monkeypatch):
    said = prior.encode_prompts(["a duck", ""])
    seen = []
    predict = prior.predict_x0
    monkeypatch.setattr(prior, "predict_x0", lambda z, level, c: seen.append(c.tensors["pose"]) or predict(z, level, c))
    guidance = Guidance.cfg(said.pick([0] * 5), said.pick([1] * 5), 3.0)
    z = sample(prior, guidance, generator=torch.Generator().manual_seed(0), steps=2)
    assert z.shape == (5, 4, 8, 8)
    torch.testing.assert_close(seen[0], poses(ring(4)).repeat(4, 1))  # two groups, with the prompt and without


RUNS = {
    "sds": (
        "dreamfusion",
        {"distiller": SDS(cfg_scale=50.0, weighting="x0", rescale=0.5), "noise": annealed(0.8, 0.5)},
    ),
    "sjc": ("sjc", {"distiller": SJC(cfg_scale=50.0), "noise": Sigmas(high=4.0, low=0.2)}),
    "vsd": ("quick", {"distiller": VSD(cfg_scale=7.5), "noise": annealed(0.8, 0.5)}),
}


@pytest.mark.parametrize("method", RUNS)
def test_steps_with_every_kind_of_distiller_reach_the_scene(method, prior):
    recipe, changes = RUNS[method]
    stage = next(iter(find_recipe(recipe, None if recipe == "quick" else "small").stages().values()))
    stage = replace(stage, cameras=OrbitSampler(group=4), views=4, size=16, **changes)
    scene = build_scene(stage.scene)
    loop = Loop("stage", stage, scene, prior, "a duck", seed=0)
    before = {name: p.detach().clone() for name, p in scene.named_parameters()}
    assert all(loop.one_step().gradient > 0 for _ in range(2))
    assert any(not torch.equal(before[name], p) for name, p in scene.named_parameters())
    loop.close()


def test_views_that_are_no_group_end_a_run_with_one_sentence(folder, tmp_path, capsys):
    command = ["generate", "a duck", "--prior", str(folder), "--recipe", "dreamfusion", "--preset", "small", "--quiet"]
    assert main([*command, "--out", str(tmp_path / "one"), "--steps", "2"]) == 2
    assert "views: expected a multiple of 4" in capsys.readouterr().err


def test_the_documented_command(folder, tmp_path):
    """docs/priors.md, with a smaller scene and fewer steps."""
    assert main([
        "generate", "a corgi", "--prior", str(folder), "--recipe", "dreamfusion",
        "--field.cameras.group", "4", "--field.cameras.elevation-deg", "0", "30",
        "--field.cameras.even-area-share", "0", "--field.cameras.position-jitter", "0",
        "--field.cameras.target-std", "0", "--field.cameras.up-std", "0",
        "--field.distiller.cfg-scale", "50", "--field.distiller.weighting", "x0", "--field.distiller.rescale", "0.5",
        "--out", str(tmp_path / "run"), "--steps", "2", "--quiet",
        "--field.size", "8", "--field.scene.width", "16", "--field.scene.blocks", "1",
        "--field.scene.coarse-samples", "16", "--field.scene.fine-samples", "0",
        "--field.scene.blob", "30", "--finish.mesh-resolution", "16",
        "--finish.texture", "32", "--finish.turntable-frames", "2", "--finish.turntable-size", "32",
        "--finish.preview-size", "16",
    ]) == 0  # fmt: skip
    run = tmp_path / "run"
    assert (run / "asset.glb").exists()
    assert all(json.loads(line)["gradient"] > 0 for line in (run / "log.jsonl").read_text().splitlines())


def test_the_commands_about_priors(folder, tmp_path, capsys):
    assert main(["priors", "check", str(folder), "--steps", "2", "--out", str(tmp_path / "c.png")]) == 0
    assert "latent 8 x 8 x 4" in capsys.readouterr().out
    assert main(["sample", "a duck", "--prior", str(folder), "--n", "4", "--steps", "2",
                 "--out", str(tmp_path / "s.png")]) == 0  # fmt: skip
