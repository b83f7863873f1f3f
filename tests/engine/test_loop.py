import dataclasses
import math

import pytest
import torch
from helpers import GREY, known_object_prior, ring_stage

from scorelift.core.camera_samplers import RingSampler, ring
from scorelift.core.errors import ScoreliftError
from scorelift.core.lights import Lights
from scorelift.core.schedules import Constant, Ramp
from scorelift.distill.sds import SDS
from scorelift.engine.generate import generate
from scorelift.engine.loop import Loop
from scorelift.engine.penalty import penalty_of
from scorelift.priors.analytic import EmpiricalPrior, GaussianPrior
from scorelift.recipes.base import Penalties
from scorelift.recipes.canvas import CanvasRecipe, study
from scorelift.recipes.optimizers import Adam
from scorelift.scenes import HashConfig, MeshConfig, VoxelConfig, build_scene, losses
from scorelift.toybox.truth import Truth


def pictures_of(caption: str, views: int, size: int, elevation: float = 15.0) -> torch.Tensor:
    cameras = RingSampler(count=views, elevation_deg=elevation).ring()
    return Truth(caption).picture(cameras, Lights(cameras.position, torch.ones(views)), size)


def run(stage, prior, steps=None, prompt="toy", seed=0):
    loop = Loop("only", stage, build_scene(stage.scene), prior, prompt, seed=seed)
    for _ in range(steps or stage.steps):
        log = loop.one_step()
    return loop, log


def psnr(a, b):
    return -10 * math.log10(float(((a - b) ** 2).mean()))


def test_a_known_object_is_recovered_from_known_cameras(record_property):
    """With the empirical prior of an object's own pictures, distillation is reconstruction: its views come back."""
    truth = pictures_of("a yellow duck wearing a blue top hat", 8, 32)
    loop, _ = run(ring_stage(steps=220), known_object_prior(truth))
    cameras = RingSampler(count=8).ring()
    with torch.no_grad():
        rgb = loop.scene.render(cameras, 32, background=torch.full((8, 3, 1, 1), 0.85)).rgb
    value = psnr(rgb, truth)
    record_property("psnr", value)
    assert value > 24


def canvas_stage(size, views=1, **changes):
    stage = CanvasRecipe().picture
    scene = dataclasses.replace(stage.scene, resolution=size, pictures=views)
    return dataclasses.replace(stage, size=size, views=views, scene=scene, **changes)


def test_a_canvas_descends_to_the_gaussians_mean():
    mean = torch.rand(3, 16, 16) * 2 - 1
    loop, _ = run(canvas_stage(16, steps=150), GaussianPrior(mean, 0.05), prompt="x")
    assert float((loop.scene.picture(16) - (mean + 1) / 2).detach().abs().mean()) < 0.02


@pytest.mark.parametrize("views", [1, 4])
def test_the_distillers_gradient_is_averaged_over_pixels_and_views(views):
    """A prior that knows its picture says z - mean; z = 2 rgb - 1, and rgb is a sigmoid of what is learned."""
    mean, size = torch.rand(3, 8, 8) * 2 - 1, 8
    stage = canvas_stage(size, views, distiller=SDS(cfg_scale=1.0, weighting="x0"))
    loop = Loop("only", stage, build_scene(stage.scene), GaussianPrior(mean, 1e-6), "x", seed=0)
    rgb = loop.scene.logits.detach().sigmoid()
    loop.one_step()
    expected = (2 * rgb - 1 - mean) * 2 * rgb * (1 - rgb) / size**2 / views
    torch.testing.assert_close(loop.scene.logits.grad, expected, atol=1e-7, rtol=1e-4)


def test_rates_follow_their_schedule_each_in_its_proportion():
    scene = VoxelConfig(resolution=8, albedo_rate=0.5, environment=True, environment_rate=0.01)
    stage = ring_stage(4, 8, 8, scene=scene, optimizer=Adam(rate=Ramp(0.2, 0.1)))
    loop = Loop("only", stage, build_scene(scene), GaussianPrior(torch.zeros(3, 8, 8), 0.5), "toy", seed=0)
    for rate in (0.2, 0.175, 0.15):
        loop.one_step()
        rates = [group["lr"] for group in loop.optimizer.param_groups]
        assert rates == pytest.approx([rate, 0.5 * rate, 0.01 * rate])


def test_samples_along_rays_are_jittered(monkeypatch):
    stage = ring_stage(1, 16, 8)
    loop = Loop("only", stage, build_scene(stage.scene), GaussianPrior(torch.zeros(3, 16, 16), 0.5), "toy", seed=0)
    heard, plain = [], loop.scene.render
    monkeypatch.setattr(loop.scene, "render", lambda *a, **k: (heard.append(k["jitter"]), plain(*a, **k))[1])
    loop.one_step()
    (jitter,) = heard
    assert jitter.shape == (1, 16, 16)
    assert 0 <= float(jitter.min()) < float(jitter.max()) < 1
    assert float(jitter.std()) == pytest.approx(12**-0.5, rel=0.1)


def test_resumed_steps_equal_uninterrupted_ones():
    prior, stage = known_object_prior(pictures_of("a red mushroom", 4, 16)), ring_stage(40, 16, 16, 4)
    whole, _ = run(stage, prior, 30)
    half, _ = run(stage, prior, 17)
    again = Loop("only", stage, build_scene(stage.scene), prior, "toy", seed=0)
    again.load(half.state())
    for _ in range(13):
        again.one_step()
    for (name, a), b in zip(whole.scene.state_dict().items(), again.scene.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_seeds_matter_and_repeat():
    prior, stage = known_object_prior(pictures_of("a red mushroom", 4, 16)), ring_stage(5, 16, 16, 4)
    a, b, c = (run(stage, prior, seed=s)[0].scene.field.density for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_every_parameter_is_optimized():
    stage = ring_stage(1, 16, 16, 4)
    stage = dataclasses.replace(stage, scene=dataclasses.replace(stage.scene, environment=True))
    loop = Loop(
        "only", stage, build_scene(stage.scene), known_object_prior(pictures_of("a red mushroom", 4, 16)), "toy", seed=0
    )
    held = {id(p) for group in loop.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in loop.scene.parameters()}


def test_values_that_are_not_finite_stop_the_run():
    class Broken(EmpiricalPrior):
        def predict_x0(self, z_t, level, condition):
            return torch.full_like(z_t, torch.nan)

    good = known_object_prior(pictures_of("a red mushroom", 4, 16))
    broken = Broken({name: good.pictures[i : i + 1] for i, name in enumerate(good.groups)})
    broken.view_words = good.view_words
    stage = ring_stage(5, 16, 16, 4)
    loop = Loop("only", stage, build_scene(stage.scene), broken, "toy", seed=0)
    before = loop.scene.field.density.clone()
    with pytest.raises(ScoreliftError, match=r"stage only, step 1: the distiller's gradient is not finite"):
        loop.one_step()
    assert torch.equal(loop.scene.field.density, before)


def test_a_state_that_is_not_finite_is_not_kept(tmp_path):
    """A rate beyond what floats hold: the step itself goes well, what it leaves does not."""
    recipe = study("sds", "annealed", 3.0, pictures=1, steps=2, size=32)
    stages = {n: dataclasses.replace(s, optimizer=Adam(rate=Constant(1e39))) for n, s in recipe.stages().items()}
    with pytest.raises(
        ScoreliftError, match=r"picture, step [12]: .* is not finite.*--picture\.optimizer\.rate\.value"
    ):
        generate("a red mushroom", recipe=recipe.with_stages(stages), out=tmp_path / "r", quiet=True)
    assert not list(tmp_path.glob("r/checkpoints/*"))


@pytest.mark.parametrize("name", ["opacity", "emptiness", "orientation", "roughness", "transmittance"])
def test_each_penalty_changes_the_result(name):
    prior = known_object_prior(pictures_of("a red mushroom", 4, 16))
    stage = ring_stage(4, 16, 16, 4)
    stage = dataclasses.replace(stage, shading=dataclasses.replace(stage.shading, albedo_until=0.0, shaded=1.0))
    penalties = Penalties(**{name: Constant(0.5)}, transmittance_target=Constant(1.0))
    on = dataclasses.replace(stage, penalties=penalties)
    (without, log0), (with_it, log1) = run(stage, prior), run(on, prior)
    assert log0.penalty == 0
    assert log1.penalty != 0
    assert not torch.equal(without.scene.field.density, with_it.scene.field.density)


PENALTIES = [spec.name for spec in dataclasses.fields(Penalties) if spec.name != "transmittance_target"]


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_is_the_loss_of_its_name(name):
    paint = HashConfig(levels=2, log2_rows=6, coarsest=4, finest=8, width=8)
    mesh = name in ("bending", "unevenness")
    scene = build_scene(MeshConfig(resolution=8, paint=paint) if mesh else VoxelConfig(resolution=8))
    shape = scene.offset if mesh else scene.field.density
    shape.data += torch.randn_like(shape)
    camera = ring(1)
    render = scene.render(camera, 12, lights=Lights(camera.position, torch.ones(1)), shading="shaded")
    loss = {
        "roughness": scene.roughness,
        "centre_depth": lambda: losses.centre_depth_loss(render, far=5.0),
        "transmittance": lambda: losses.transmittance_loss(render, target=0.2),
    }.get(name, lambda: getattr(losses, f"{name}_loss")(render))()
    weights = Penalties(**{name: Ramp(0.0, 4.0)}, transmittance_target=Ramp(0.0, 0.4))
    got = penalty_of(weights, scene, render, 5.0, progress=0.5)
    assert float(got.detach()) == pytest.approx(2 * float(loss.detach()))
    assert abs(float(loss.detach())) > 1e-4


def test_backdrops_are_what_they_say(generator):
    backdrop = GREY.draw(3, 8, generator)
    torch.testing.assert_close(backdrop, torch.full_like(backdrop, 0.85))


def test_several_noise_draws_average_their_gradients():
    prior = GaussianPrior(torch.zeros(3, 8, 8), 0.5)
    z = torch.randn(1, 3, 8, 8)

    def gradients(draws):
        loop = Loop("only", ring_stage(size=8, draws=draws), build_scene(ring_stage().scene), prior, "toy", seed=0)
        cameras, _, _ = loop._render(loop.mine, 0.5, torch.Generator().manual_seed(0))
        terms = loop.prompts.terms(cameras)
        generators = (torch.Generator().manual_seed(seed) for seed in range(64))
        return torch.stack([loop._distill(prior, z, loop.mine, terms, 0.5, generator)[0] for generator in generators])

    one, two, three, sixteen = (gradients(draws) for draws in (1, 2, 3, 16))
    spread = [float(found.std(0).mean()) for found in (one, two, three, sixteen)]
    assert spread[1] < spread[0] / 4  # opposite noise leaves what the level alone decides ...
    assert spread[3] == pytest.approx(spread[1] / 8**0.5, rel=0.15)  # ... of which sixteen draws see eight
    assert spread[1] < spread[2] < spread[0]
    torch.testing.assert_close(sixteen.mean(0), one.mean(0), atol=0.3, rtol=0)


def test_draws_in_one_batch_are_those_one_by_one():
    """Where memory is to be spared, and with all that a distiller may ask of its terms."""
    prior = known_object_prior(pictures_of("a red mushroom", 4, 16))
    distiller = SDS(cfg_scale=5.0, perp_neg=1.0)
    stage = dataclasses.replace(ring_stage(size=16, draws=3), views=2, distiller=distiller)
    found = []
    for slices in (1, 2):
        loop = Loop("only", dataclasses.replace(stage, slices=slices), build_scene(stage.scene), prior, "toy", seed=0)
        cameras, render, _ = loop._render(loop.mine, 0.5, torch.Generator().manual_seed(0))
        z, terms = render.rgb.detach(), loop.prompts.terms(cameras)
        found.append(loop._distill(prior, z, loop.mine, terms, 0.5, torch.Generator().manual_seed(1)))
    torch.testing.assert_close(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]


@pytest.mark.parametrize(("shape", "corner"), [("ball", 1.0), ("box", 3**0.5)])
def test_far_is_beyond_the_scenes_last_corner(shape, corner):
    """A box ends in the corner behind its middle, sqrt(3) from it."""
    ring = RingSampler(elevation_deg=math.degrees(math.asin(3**-0.5)), distance=1.5)  # half of them on a diagonal
    stage = ring_stage(1, 16, 24)
    stage = dataclasses.replace(stage, views=8, cameras=ring, scene=dataclasses.replace(stage.scene, shape=shape))
    loop = Loop("only", stage, build_scene(stage.scene), GaussianPrior(torch.zeros(3, 16, 16), 0.5), "toy", seed=0)
    with torch.no_grad():  # only there is anything
        axis = torch.linspace(-1, 1, 24)
        place = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1)
        there = (place.abs().sum(-1) / 3**0.5 > corner - 0.3) & (place[..., 2] < 0)
        loop.scene.field.density.copy_(torch.where(there, 5.0, -60.0)[..., None])
    _, render, far = loop._render(loop.mine, 0.0, torch.Generator().manual_seed(0))
    seen = float(render.depth.detach().max())
    assert 1.5 + corner - 0.3 < seen <= far
    assert far == pytest.approx(1.5 + corner)
