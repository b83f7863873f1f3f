"""What tiny checkpoints of the real classes need, counted without their weights; and where their prompts are read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
import torch

pytest.importorskip("diffusers")

from tiny import KINDS

from scorelift.core.camera_samplers import OrbitSampler
from scorelift.distill.sds import SDS
from scorelift.distill.vsd import VSD
from scorelift.engine.loop import Loop
from scorelift.engine.needs import prior_work
from scorelift.engine.plan import StagePlan, plan, shortage
from scorelift.engine.portions import Portions
from scorelift.engine.tally import Tally
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.prompts import Prompts
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import load_prior, sketch_prior
from scorelift.recipes import find_recipe
from scorelift.scenes import build_scene
from scorelift.scenes.fields import Field

SINGLE = ModelOptions(precision="fp32")
ALL = (*KINDS, "multiview")


def study(folder, views=2, group=1):
    """Flat pictures with a twin: all that a prior can be asked to do."""
    recipe = find_recipe("canvas")
    picture = replace(recipe.picture, distiller=VSD(), size=16, views=views, cameras=OrbitSampler(group=group))
    return replace(recipe, picture=picture, prior=str(folder), model=SINGLE)


@pytest.mark.parametrize("kind", ALL)
def test_a_checkpoint_is_sketched_as_it_is_loaded(kind, folders):
    sketch, text = sketch_prior(str(folders[kind]), SINGLE)
    real = load_prior(str(folders[kind]), "cpu", SINGLE)
    shapes = [{name: t.shape for name, t in prior.net.state_dict().items()} for prior in (sketch, real)]
    assert shapes[0] == shapes[1]
    assert all(t.device.type == "meta" for t in sketch.net.state_dict().values())
    for value in ("channels", "sizes", "sigma_range", "bound", "prediction", "views", "schedule"):
        assert getattr(sketch, value) == getattr(real, value)
    if not real.prompts.names:
        assert text == 0
        return
    said, drawn = (prior.encode_prompts(["a duck"]).tensors for prior in (real, sketch))
    assert {name: t.shape for name, t in drawn.items()} == {name: t.shape for name, t in said.items()}
    pipe = real.prompts._pipeline()
    readers = [getattr(pipe, name) for name in real.prompts.names if name.startswith("text_encoder")]
    numbers = {t.data_ptr(): t.numel() for reader in readers for t in reader.parameters()}
    assert text == 4 * sum(numbers.values())
    assert sketch_prior(str(folders[kind]), replace(SINGLE, text_device="cpu"))[1] == 0


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_of_checkpoint_can_be_planned(kind, folders):
    views = sketch_prior(str(folders[kind]))[0].views
    (found,) = plan(study(folders[kind], views=2 * views, group=views))
    assert found.least.prior < found.whole.prior
    assert found.least.peak <= found.whole.peak  # where the twin's lesson takes most, its pictures stay together
    assert found.whole.operations > 0


def test_views_that_are_seen_together_are_denoised_together_when_memory_is_short(folders):
    recipe = find_recipe("sjc", "small")
    stage = replace(recipe.field, cameras=OrbitSampler(group=4), views=8, size=16, latent=False,
                    scene=replace(recipe.field.scene, resolution=12))  # fmt: skip
    found = []
    for portions in (Portions(), Portions(2), Portions(2, 4)):
        torch.manual_seed(0)
        loop = Loop("only", stage, build_scene(stage.scene), load_prior(str(folders["multiview"])), "a duck", seed=0)
        loop.portions = portions
        loop.one_step()
        found.append(loop.scene.field.density.grad)
    for gradient in found[1:]:
        torch.testing.assert_close(gradient, found[0], rtol=1e-3, atol=1e-3 * float(found[0].abs().max()))


def test_half_precision_needs_half(checkpoints):
    recipe = study(checkpoints["sd15"])
    whole, half = (plan(replace(recipe, model=ModelOptions(precision=p)))[0].whole for p in ("fp32", "bf16"))
    assert half.weights == whole.weights // 2
    assert half.prior < 0.7 * whole.prior
    mixed = plan(replace(recipe, model=ModelOptions()))[0].whole  # fp16, its autoencoder in fp32
    assert half.weights < mixed.weights < whole.weights


def test_a_prior_without_memory_counts_as_one_with(checkpoints):
    """Encoder, denoiser, adapters and the twin's lesson, on a real checkpoint and on its sketch."""
    stage = study(checkpoints["sd15"]).picture
    sketched = prior_work(stage, sketch_prior(str(checkpoints["sd15"]), SINGLE)[0], "", 2, 0)
    real = prior_work(stage, load_prior(str(checkpoints["sd15"])), "", 2, 0)
    assert (sketched.weights, sketched.twin) == (real.weights, real.twin)
    assert sketched.step == pytest.approx(real.step, rel=0.05)  # attention on a CPU is not the one on a GPU
    assert sketched.lesson == pytest.approx(real.lesson, rel=0.1)


@pytest.mark.parametrize("portions", [Portions(), Portions(2), Portions(2, 4)], ids=str)
@pytest.mark.parametrize("distiller", [SDS(cfg_scale=7.5), VSD()], ids=["sds", "vsd"])
def test_a_whole_step_holds_what_was_foretold(distiller, portions, checkpoints):
    """Scene, encoder, denoiser, twin and optimizer together, in real memory on the CPU, by the kernels a GPU runs."""
    recipe = find_recipe("sjc", "small")
    scene = replace(recipe.field.scene, resolution=12, step=1.0)
    stage = replace(recipe.field, distiller=distiller, views=2, size=32, latent=False, scene=scene)
    prior, field = load_prior(str(checkpoints["sd15"])), build_scene(scene)
    vars(field.field)["integrate"] = partial(Field.integrate, field.field)
    loop = Loop("only", stage, field, prior, "a duck", seed=0)
    loop.portions = portions
    twins = loop.twin.adapters.parameters() if loop.twin else ()
    known = (prior.net, prior.latents.vae, loop.scene)
    tally = Tally([*(t for net in known for t in net.state_dict(keep_vars=True).values()), *twins])
    with tally:
        loop.one_step()
        tally.mark()
        loop.one_step()
    sketch, _ = sketch_prior(str(checkpoints["sd15"]), SINGLE)
    foretold = StagePlan("only", stage, sketch, 0).need(portions).peak
    assert foretold == pytest.approx(tally.peak, rel=0.15)  # encoded prompts, which are not counted, are not small here
    loop.close()


def test_a_prompt_that_takes_too_much_to_read_is_foretold(checkpoints):
    stages = plan(study(checkpoints["if"]))
    need = stages[0].whole
    assert need.reading > need.weights
    assert "--model.text-device cpu" in shortage(stages, study(checkpoints["if"]), int(need.reading / 2))


def test_where_the_computer_does_not_hold_them_in_fp32_they_read_in_bf16(checkpoints, tmp_path, monkeypatch):
    wanted = load_prior(str(checkpoints["if"])).encode_prompts(["a duck"]).tensors["tokens"]
    prior = load_diffusers(checkpoints["if"], cache=tmp_path)
    monkeypatch.setattr("scorelift.priors.diffusers.prompts.free_bytes", lambda: 1000)
    with pytest.warns(UserWarning, match=r"take 0\.0 GiB in fp32, 0\.0 are free: they read in bf16"):
        found = prior.encode_prompts(["a duck"]).tensors["tokens"]
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0.05)
    assert prior.prompts.dtype == torch.bfloat16
    monkeypatch.setattr(Prompts, "_pipeline", lambda self: pytest.fail("the text encoders were loaded again"))
    later = load_diffusers(checkpoints["if"], cache=tmp_path)
    assert torch.equal(later.encode_prompts(["a duck"]).tensors["tokens"], found)  # kept, and nothing is said


def test_where_the_gpu_does_not_hold_the_text_encoders_the_cpu_reads(checkpoints, tmp_path, monkeypatch):
    here = load_prior(str(checkpoints["sd15"])).prompts
    wanted = here.encode(["a duck"])["tokens"]
    prompts = Prompts(here.checkpoint, here.family, SINGLE, torch.device("meta"), tmp_path)
    own = Prompts._pipeline

    def pipeline(self):
        if self.device.type != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return own(self)

    monkeypatch.setattr(Prompts, "_pipeline", pipeline)
    with pytest.warns(UserWarning, match="the CPU reads the prompt"):
        found = prompts.encode(["a duck"])["tokens"]
    assert torch.equal(found, wanted)
    monkeypatch.setattr(Prompts, "_pipeline", None)
    assert torch.equal(prompts.encode(["a duck"])["tokens"], wanted)  # kept, as ever


def test_no_text_encoder_is_loaded_for_a_gpu_that_cannot_hold_it(checkpoints, tmp_path, monkeypatch):
    """Their files say how large they are: they are loaded once, by the CPU, in bf16 where it is short of memory too."""
    here = load_prior(str(checkpoints["if"])).prompts
    need, own, loaded = sketch_prior(str(checkpoints["if"]))[1], Prompts._encoder, []
    monkeypatch.setattr("scorelift.priors.diffusers.prompts.device_bytes",
                        lambda device: None if device.type == "cpu" else need - 1)  # fmt: skip

    def encoder(self, name, dtype):
        loaded.append((self.device.type, dtype))
        return own(self, name, dtype)

    def read(cache):
        prompts = Prompts(here.checkpoint, here.family, SINGLE, torch.device("meta"), tmp_path / cache)
        return prompts.encode(["a duck"])["tokens"]

    monkeypatch.setattr(Prompts, "_encoder", encoder)
    with pytest.warns(UserWarning, match="do not fit the GPU.*the CPU reads the prompt"):
        wanted = read("one")
    monkeypatch.setattr("scorelift.priors.diffusers.prompts.free_bytes", lambda: need - 1)
    with pytest.warns(UserWarning) as caught:  # noqa: PT030
        found = read("other")
    assert [("CPU reads" in str(w.message), "in bf16" in str(w.message)) for w in caught] == [
        (True, False),
        (False, True),
    ]
    assert loaded == [("cpu", torch.float32), ("cpu", torch.bfloat16)]
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0.05)
