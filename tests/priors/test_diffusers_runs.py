"""Runs, recipes, twins and precisions on tiny checkpoints of the real classes."""

from __future__ import annotations

import json
import math
import re
import warnings
from dataclasses import replace
from functools import partial

import pytest
import torch

pytest.importorskip("diffusers")

from tiny import KINDS, noisy

import scorelift
from scorelift.core.diffusion import Level
from scorelift.distill.base import Terms
from scorelift.distill.baselines import DiffusionLoss
from scorelift.distill.noise import Times, Trajectory, annealed
from scorelift.distill.sds import SDS
from scorelift.distill.sjc import SJC
from scorelift.distill.twin import Twin, TwinConfig
from scorelift.distill.vsd import APFO, VSD
from scorelift.engine.loop import Loop
from scorelift.engine.remarks import beyond, guidance
from scorelift.engine.results import final_scene
from scorelift.evaluate.evidence import Evidence
from scorelift.priors.adapters import Adapters
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.prompts import Prompts
from scorelift.priors.guidance import Guidance
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import load_prior
from scorelift.priors.sampling import sample, seen_around
from scorelift.recipes import find_recipe
from scorelift.scenes import build_scene

PROMPTS = ["", "a red mushroom", "a duck, front view"]


DISTILLERS = {
    "sds": SDS(cfg_scale=7.5),
    "sjc": SJC(cfg_scale=7.5),
    "vsd": VSD(),
    "jacobian": DiffusionLoss(cfg_scale=7.5),
    "apfo": APFO(twin=TwinConfig(kind="identity")),
    "apfo with a twin": APFO(),
}
RUNS = [(kind, method) for kind in KINDS for method in DISTILLERS if kind == "sdxl" or method != "apfo with a twin"]


@pytest.mark.parametrize(("kind", "method"), RUNS)
def test_a_whole_run_with_every_kind_and_distiller(kind, method, checkpoints, tmp_path):
    recipe = find_recipe("canvas", None)
    stage = recipe.picture
    noise = Trajectory(start=0.8, levels=3) if method.startswith("apfo") else annealed(0.8, 0.5)
    stage = replace(stage, distiller=DISTILLERS[method], noise=noise, size=16, views=1, steps=3)
    recipe = replace(recipe, picture=stage, prior=str(checkpoints[kind]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ddpm says that it reads no prompts
        run = scorelift.generate("a red mushroom", out=tmp_path / "run", recipe=recipe, device="cpu", quiet=True)
    assert run.finished
    log = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert len(log) == 3
    assert all(entry["gradient"] > 0 for entry in log)
    assert all(("twin" in entry) == (method in ("vsd", "apfo with a twin")) for entry in log)


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


HALF = {"fp16": (torch.float16, 0.02), "bf16": (torch.bfloat16, 0.1)}
"""What half precision computes in, and how far off it may be; guidance and noise magnify what it rounds."""


@pytest.fixture
def any_precision(monkeypatch):
    """A CPU that takes fp16 as a GPU does."""
    own = ModelOptions.dtype
    monkeypatch.setattr(
        ModelOptions, "dtype", lambda self, device: torch.float16 if self.precision == "fp16" else own(self, device)
    )


def near(found, wanted, share):
    assert found.isfinite().all()
    assert (found - wanted).abs().max() < share * wanted.abs().max()


@pytest.mark.usefixtures("any_precision")
@pytest.mark.filterwarnings("ignore:.* reads no prompts")
@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("kind", [*KINDS, "multiview"])
def test_half_precision_says_nearly_the_same(kind, precision, folders):
    """Of guided pictures at little noise and at much, of what the autoencoder makes of one, and its gradient."""
    dtype, share = HALF[precision]
    outs = []
    for asked in ("fp32", precision):
        prior = load_diffusers(folders[kind], options=ModelOptions(precision=asked))
        n = max(prior.views, 2)
        level = Level.vp(torch.tensor([0.05] * n if prior.views > 1 else [0.05, 20.0]))
        guidance = Guidance.cfg(prior.encode_prompts(["a duck"] * n), prior.encode_prompts([""] * n), 7.5)
        guidance = seen_around(prior, guidance) if prior.views > 1 else guidance
        z, noise = noisy(prior, level)
        x0 = guidance.x0(prior, level.add_noise(z, noise), level)
        rgb = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(3)).requires_grad_()
        encoded = prior.encode(rgb)
        encoded.square().sum().backward()
        outs.append((x0, encoded.detach(), rgb.grad, prior.decode(encoded.detach())))
    assert {t.dtype for t in prior.net.state_dict().values() if t.is_floating_point()} == {dtype}
    if prior.latents:
        assert prior.latents.dtype == (torch.float32 if precision == "fp16" else dtype)
    for wanted, found in zip(*outs, strict=True):
        assert found.dtype == torch.float32
        near(found, wanted, share)


@pytest.mark.usefixtures("any_precision")
@pytest.mark.parametrize("kind", ["sd15", "sdxl", "refiner", "sd3"])
def test_text_encoders_read_nearly_the_same_in_fp16(kind, checkpoints, tmp_path):
    """As on a GPU; IF and PixArt have theirs in fp32 there."""
    wanted = load_diffusers(checkpoints[kind], cache=tmp_path / "whole").prompts
    prompts = Prompts(wanted.checkpoint, wanted.family, ModelOptions(precision="fp16"), torch.device("meta"), tmp_path)
    assert prompts.dtype == torch.float16
    prompts.device = torch.device("cpu")
    found = prompts.encode(["a red mushroom"])
    for name, t in wanted.encode(["a red mushroom"]).items():
        near(found[name], t, 0.02)


@pytest.mark.parametrize("kind", ["sd15", "if"])
def test_channels_may_lie_last(kind, checkpoints):
    level, outs = Level.vp(torch.tensor([1.0])), []
    for options in (ModelOptions(), ModelOptions(channels_last=True)):
        prior = load_diffusers(checkpoints[kind], options=options)
        weight = prior.net.down_blocks[0].resnets[0].conv1.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) == options.channels_last
        z, noise = noisy(prior, level)
        outs.append(prior.predict_x0(level.add_noise(z, noise), level, prior.encode_prompts(["a duck"])))
    torch.testing.assert_close(outs[1], outs[0], atol=1e-4, rtol=1e-4)


def test_sampling_does_not_clip_latents(checkpoints):
    prior = load_diffusers(checkpoints["sd15"])
    assert prior.bound is None
    assert load_diffusers(checkpoints["ddpm"]).bound == 1.0
    condition = prior.encode_prompts(["", "a duck"])
    guidance = Guidance.cfg(condition.pick([1]), condition.pick([0]), 5.0)
    assert sample(prior, guidance, generator=torch.Generator().manual_seed(0), steps=3).shape == (1, 4, 8, 8)


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
    (ranked,) = scorelift.rank([run], Evidence(views=2, levels=2), device="cpu")
    assert math.isfinite(ranked["words"] + ranked["view"])
    assert shapes == [64, 1, 1]  # view by view, to spare memory
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
        twin.loss(z, terms, level, torch.randn(z.shape, generator=torch.Generator().manual_seed(step))).backward()
        twin.optimizer.step()
    for name, parameter in twin.adapters.named_parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad.abs().sum() > 0, name  # down projections learn once up projections are not 0
    assert (twin.x0(z_t, level, terms) - before).abs().max() > 0
    torch.testing.assert_close(prior.predict_x0(z_t, level, condition), before, atol=0, rtol=0)
    twin.adapters.remove()


def test_a_compiled_network_hears_the_twins_that_come_later(checkpoints, monkeypatch):
    """First no twin, then one after the other, as the stages of dreamflow have them."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))  # the others want a C++ compiler
    plain = load_diffusers(checkpoints["dit"])
    with torch._dynamo.config.patch(skip_nnmodule_hook_guards=True, recompile_limit=8):  # and set back
        prior = load_diffusers(checkpoints["dit"], options=ModelOptions(compile=True))
        level, condition = Level.vp(torch.tensor([1.0])), prior.encode_prompts(["a duck"])
        z, _ = noisy(prior, level)
        with torch.no_grad():
            before = prior.predict_x0(z, level, condition)
            torch.testing.assert_close(before, plain.predict_x0(z, level, condition))
        for seed in range(2):
            torch.manual_seed(seed)
            twins = [Adapters(p.anatomy(), 2) for p in (prior, plain)]
            for row in twins[0].rows:
                torch.nn.init.normal_(row.up.weight)
            twins[1].load_state_dict(twins[0].state_dict())
            with torch.no_grad():
                torch.testing.assert_close(prior.predict_x0(z, level, condition), before)
            for learns in (False, True):
                with twins[0].listening(None), twins[1].listening(None), torch.set_grad_enabled(learns):
                    said, right = (p.predict_x0(z, level, condition) for p in (prior, plain))
                assert (right - before).abs().max() > 1e-3
                torch.testing.assert_close(said, right)
            said.sum().backward()
            assert all(row.up.weight.grad.abs().sum() > 0 for row in twins[0].rows)
            for twin in twins:
                twin.remove()
        with torch.no_grad():
            torch.testing.assert_close(prior.predict_x0(z, level, condition), before)
    torch._dynamo.reset()


def test_half_precision_keeps_a_twins_gradient_only_if_the_loss_is_loud(checkpoints):
    """Why `Loop._lesson` scales the loss: a mean over a picture's numbers is too quiet for fp16 within the network."""
    quiet, loud = (8 * 8) / (64 * 64), 2.0**14  # as if of a latent of 64 x 64; its four channels' numbers

    def gradient(half, scale):
        prior = load_diffusers(checkpoints["sd21"])
        prior.net.to(torch.float16 if half else torch.float32)
        condition, generator = prior.encode_prompts(["a duck", "a red mushroom"]), torch.Generator().manual_seed(1)
        terms = Terms(condition, condition, prior.encode_prompts([""] * 2), pose=torch.ones(2, 12))
        twin, level = Twin(prior, TwinConfig(), seed=0), Level.vp(torch.tensor([0.5, 2.0]))
        for row in twin.adapters.rows:
            row.up.weight.data.normal_(0, 0.05, generator=generator)
        z, noise = noisy(prior, level)
        (twin.loss(z, terms, level, noise) * scale).backward()
        return [p.grad / scale for row in twin.adapters.rows for p in row.parameters()]

    whole = gradient(False, 1.0)

    def error(scale):
        pairs = zip(gradient(True, scale), whole, strict=True)
        return max(float((half - full).norm() / full.norm()) for half, full in pairs)

    assert error(quiet * loud) < 0.02
    assert error(quiet) > 0.1


def test_stages_of_latents_have_the_priors_size(checkpoints, tmp_path, capsys):
    recipe = find_recipe("sjc", "small")
    scene = replace(recipe.field.scene, resolution=16, blob_sharpness=6.0)
    recipe = replace(recipe, prior=str(checkpoints["sd15"]))
    recipe = recipe.with_stages({"field": replace(recipe.field, scene=scene, size=12, steps=1)})
    run = scorelift.generate("a duck", out=tmp_path / "run", recipe=recipe, device="cpu")
    (side,) = load_prior(str(checkpoints["sd15"])).sizes
    assert run.recipe.field.size == side != 12
    said = f"stage field renders {side} x {side} latents (the recipe: 12 x 12), as"
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_refiner_asked_of_much_noise_is_said(checkpoints):
    prior = load_prior(str(checkpoints["refiner"]))
    stage = find_recipe("canvas").picture
    recipe = find_recipe("canvas").with_stages({"picture": replace(stage, noise=Times())})
    assert re.search(r"trained at times up to 0\.2, .*; stage picture asks it up to 0\.9\d, where it guesses",
                     beyond(recipe, prior))  # fmt: skip
    little = recipe.with_stages({"picture": replace(stage, noise=Trajectory(start=0.3, end=0.0, levels=10), steps=10)})
    assert beyond(little, prior) is None
    assert beyond(recipe, load_prior(str(checkpoints["sdxl"]))) is None


def test_a_refiner_that_draws_from_noise_alone_is_said(checkpoints, generator):
    def drawn(kind, until=1.0):
        prior = load_prior(str(checkpoints[kind]))
        most = float(prior.schedule.level(torch.tensor([until])).sigma_ve)
        guidance = Guidance(((prior.encode_prompts(["a duck"]), 1.0),))
        return sample(prior, guidance, generator=generator, steps=2, sigma_max=most)

    with pytest.warns(UserWarning, match=r"was trained at times up to 0\.2, .*: of noise alone it guesses one"):
        drawn("refiner")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn("refiner", until=0.15)
        drawn("sdxl")


def test_a_priors_own_guidance_is_said_and_not_taken(checkpoints, tmp_path, capsys):
    stage = replace(find_recipe("canvas").picture, size=16, views=1, steps=1)

    def begun(kind, scale):
        recipe = replace(find_recipe("canvas"), prior=str(checkpoints[kind]))
        recipe = recipe.with_stages({"picture": replace(stage, distiller=SDS(cfg_scale=scale))})
        run = scorelift.generate("a duck", out=tmp_path / f"{kind}-{scale}", recipe=recipe, device="cpu")
        assert run.recipe.picture.distiller.cfg_scale == scale
        return capsys.readouterr().err

    said = begun("if", 101.0)
    assert re.search(r"guidance: public implementations of score distillation with \S+ have 20, stage picture has 101 "
                     r"\(--picture\.distiller\.cfg-scale 20 changes it\)\.", said)  # fmt: skip
    assert "guidance" not in begun("if", 20.0) + begun("sd15", 101.0)
    other = find_recipe("canvas").with_stages({"picture": replace(stage, distiller=VSD())})
    assert guidance(other, load_prior(str(checkpoints["if"]))) is None
