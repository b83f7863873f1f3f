"""Weights that rest in CPU memory: on a second device, where a tensor left behind is an error, as on a GPU."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import UNet2DConditionModel
from diffusers.hooks import group_offloading
from test_diffusers_runs import DISTILLERS
from tiny import KINDS, noisy

import elsewhere as second
from elsewhere import AWAY, Wrapped, elsewhere
from scorelift.core.camera_samplers import ring
from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.distill.noise import Trajectory, annealed
from scorelift.engine.loop import Loop
from scorelift.engine.plan import plan, shortage
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.loading import _place
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import check_model
from scorelift.recipes import find_recipe
from scorelift.scenes import build_scene

OFFLOAD = ModelOptions(offload=True)
RESTING = [kind for kind in (*KINDS, "multiview") if kind != "dit"]


class Queue:
    """A CUDA stream, as far as its order goes."""

    def synchronize(self) -> None: ...


class Queues:
    """torch.cuda, as far as weights need it that travel while a layer computes."""

    Stream = current_stream = Queue

    @staticmethod
    def stream(_):
        return nullcontext()


def asked(prior, device="cpu"):
    """x0 of noisy pictures, and the gradient of its square on them."""
    level = Level.vp(torch.ones(prior.views))
    z, noise = noisy(prior, level)
    condition = prior.encode_prompts(["a duck"] * prior.views)
    if prior.views > 1:
        condition = prior.seen(condition, ring(4))
    z = z.to(device).requires_grad_()
    x0 = prior.predict_x0(level.add_noise(z, noise.to(device)), level, condition)
    x0.square().sum().backward()
    return x0.detach().cpu(), z.grad.cpu()


@pytest.mark.filterwarnings("ignore:.* reads no prompts")
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("kind", RESTING)
def test_weights_come_for_a_layer_and_for_its_gradient(kind, ahead, folders, monkeypatch):
    """`ahead`: while a layer computes the next one's weights travel, as on CUDA."""
    prior = load_diffusers(folders[kind])
    wanted = asked(prior)
    with elsewhere(), monkeypatch.context() as here:  # undone in turn, for both patch torch
        prior.to(AWAY)
        if ahead:
            here.setattr(torch, "get_device_module", lambda _: Queues)
            here.setattr(torch.Tensor, "pin_memory", lambda t: t)
            here.setattr(torch.Tensor, "is_pinned", lambda t: True)
            own = group_offloading.apply_group_offloading
            early = lambda *args, **options: own(*args, **{**options, "use_stream": True})  # noqa: E731
            here.setattr("diffusers.hooks.apply_group_offloading", early)
        prior.rest()
        assert {t.device.type for t in prior.net.state_dict().values()} == {"cpu"}
        assert (prior.device.type, prior.can_rest) == (AWAY, 0)
        found = [asked(prior, AWAY) for _ in range(2)]  # the first time the order of layers is learned
        assert {t.device.type for t in prior.net.state_dict().values()} == {"cpu"}
    for pair in found:
        for a, b in zip(pair, wanted, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["sdxl", "sd3", "if"])
def test_no_more_is_there_than_was_foretold(kind, folders, monkeypatch):
    prior, held = load_diffusers(folders[kind]), []
    run = second.run

    def counted(*args):
        there = [p for p in (*prior.net.parameters(), *prior.net.buffers()) if isinstance(p, Wrapped)]
        held.append(sum(t.numel() * t.element_size() for t in there))
        return run(*args)

    total = sum(t.numel() * t.element_size() for t in prior.net.state_dict().values())
    with elsewhere():
        prior.to(AWAY)
        prior.rest()
        monkeypatch.setattr(second, "run", counted)
        asked(prior, AWAY)
    assert 0 < max(held) <= total - prior.resting < 0.5 * total


@pytest.mark.parametrize("method", DISTILLERS)
def test_every_distiller_and_its_twin(method, folders):
    """Also those that differentiate through the network."""
    noise = Trajectory(start=0.8, levels=3) if method.startswith("apfo") else annealed(0.8, 0.5)
    recipe = find_recipe("canvas")
    stage = replace(recipe.picture, distiller=DISTILLERS[method], noise=noise, size=16, views=1, steps=3)
    stage = recipe.with_stages({"picture": stage}).picture
    logs = []
    for rests in (False, True):
        prior = load_diffusers(folders["sdxl"])
        with elsewhere():
            prior.to(AWAY)
            if rests:
                prior.rest()
            torch.manual_seed(0)
            loop = Loop("picture", stage, build_scene(stage.scene), prior, "a duck", seed=0, device=AWAY)
            logs.append([loop.one_step() for _ in range(2)])
            loop.close()
    for resident, resting in zip(*logs, strict=True):
        assert resting.gradient == pytest.approx(resident.gradient, rel=1e-4)
        assert resting.twin == (None if resident.twin is None else pytest.approx(resident.twin, rel=1e-4))


def test_a_denoiser_that_does_not_fit_rests(folders, monkeypatch):
    net = load_diffusers(folders["sd15"]).net
    own = UNet2DConditionModel.to

    def move(self, *args, **kwargs):
        if args and torch.device(args[0]).type == AWAY:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return own(self, *args, **kwargs)

    monkeypatch.setattr(UNet2DConditionModel, "to", move)
    with elsewhere():
        with pytest.raises(torch.OutOfMemoryError):
            _place(net, torch.device(AWAY), ModelOptions(compile=True))
        with pytest.warns(UserWarning, match=r"its weights rest in CPU memory.*--model\.offload"):
            assert _place(net, torch.device(AWAY), ModelOptions(channels_last=True)) > 0
        assert net.device.type == AWAY
        assert net.conv_in.weight.is_contiguous(memory_format=torch.channels_last)


def test_asked_for(folders):
    net = load_diffusers(folders["sd15"], options=OFFLOAD).net  # on a CPU they are where they rest
    assert _place(net, torch.device("cpu"), OFFLOAD) == 0
    with elsewhere():
        assert _place(net, torch.device(AWAY), OFFLOAD) > 0
    with pytest.raises(ScoreliftError, match=r"model\.offload: expected none, for diffusers cannot offload a DiT"):
        load_diffusers(folders["dit"], options=OFFLOAD)
    with pytest.raises(ScoreliftError, match=r"model\.offload: expected False with --model\.compile"):
        ModelOptions(offload=True, compile=True)
    with pytest.raises(ScoreliftError, match=r"no such options for the embedded prior toybox, got '--model\.offload'"):
        check_model(OFFLOAD, "toybox")


def test_a_plan_counts_what_rests(folders):
    recipe = find_recipe("canvas")
    picture = replace(recipe.picture, size=16, views=2)
    recipe = replace(recipe, picture=picture, prior=str(folders["sdxl"]))
    (whole,), (rests,) = plan(recipe), plan(replace(recipe, model=OFFLOAD))
    spare = whole.prior.can_rest
    assert spare > 0.5 * sum(t.numel() * t.element_size() for t in whole.prior.net.state_dict().values())
    assert rests.prior.resting == spare == whole.whole.weights - rests.whole.weights
    assert whole.whole.peak - spare == rests.whole.peak
    assert whole.whole.reading - spare == rests.whole.reading
    least, bands = whole.least.room, whole.ladder[-1].bands
    said = shortage([whole], recipe, least - int(1.1 * spare))
    assert f"With --model.offload --picture.bands {bands} it needs" in said
    said = shortage([whole], recipe, 9)
    assert "What needs less: --model.offload (0.0 GiB of weights stay in CPU memory; slower), --model.precision" in said
    said = shortage([whole], replace(recipe, model=ModelOptions(compile=True)), 9)
    assert said.count("--model.offload") == said.count("--model.offload in place of --model.compile") == 1
    assert "offload" not in shortage([rests], replace(recipe, model=OFFLOAD), 9)
    recipe = recipe.with_stages({"picture": replace(picture, bands=bands)})
    (smallest,) = plan(recipe)
    assert "With --model.offload it needs" in shortage([smallest], recipe, least - 1)
