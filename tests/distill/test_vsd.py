"""Distillers with a twin against closed forms."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from scorelift.core.camera_samplers import ring
from scorelift.core.cameras import Cameras
from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.distill.base import Terms
from scorelift.distill.noise import DreamTime, Trajectory
from scorelift.distill.sds import SDS
from scorelift.distill.twin import Twin, TwinConfig
from scorelift.distill.vsd import APFO, VSD
from scorelift.engine.loop import Loop, step_generator
from scorelift.priors.analytic import EmpiricalPrior, GaussianPrior
from scorelift.priors.toybox import load_toybox
from scorelift.recipes.canvas import CanvasRecipe
from scorelift.scenes import build_scene

MEAN, STD = 0.4, 0.6
IDENTITY, NONE = TwinConfig(kind="identity"), TwinConfig(kind="none")


def terms(prior, n, pose=None):
    full, uncond = prior.encode_prompts(["x"] * n), prior.encode_prompts([""] * n)
    return Terms(full, full, uncond, pose=pose)


def gaussian():
    return GaussianPrior(torch.full((1, 2, 2), MEAN, dtype=torch.float64), STD)


class Exact(Twin):
    """The denoiser of renders that are N(mean, std^2)."""

    def __init__(self, z):
        self.mean, self.square = z.mean(), z.var()

    def x0(self, z_t, level, _):
        s2 = (level.sigma_ve**2).view(-1, 1, 1, 1)
        y = z_t / level.alpha_t.view(-1, 1, 1, 1)
        return (self.square * y + s2 * self.mean) / (self.square + s2)


def draw(generator, n=3):
    return (torch.randn(n, 1, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))


def test_vsd_with_a_twin_that_knows_the_render_is_sds(generator):
    prior, (z, noise) = gaussian(), draw(generator)
    level = Level.vp(torch.tensor([0.1, 1.0, 8.0], dtype=torch.float64))
    for weighting in ("sigma2", "uniform"):
        got = VSD(weighting=weighting, twin=IDENTITY)(prior, z, terms(prior, 3), level, noise)
        same = SDS(cfg_scale=7.5, weighting=weighting)(prior, z, terms(prior, 3), level, noise)
        torch.testing.assert_close(got.gradient, same.gradient)


def test_vsd_vanishes_where_renders_are_the_prior(generator):
    prior, (z, noise) = gaussian(), draw(generator)
    level = Level.vp(torch.tensor([0.1, 1.0, 8.0], dtype=torch.float64))
    twin = Exact(z)
    twin.mean, twin.square = torch.tensor(MEAN), torch.tensor(STD**2)
    got = VSD(cfg_scale=1.0)(prior, z, terms(prior, 3), level, noise, twin)
    torch.testing.assert_close(got.gradient, torch.zeros_like(z))


def test_apfo_with_a_twin_that_knows_the_render_is_an_euler_step_of_the_flow(generator):
    prior, (z, noise) = gaussian(), draw(generator)
    s, after = 2.0, 1.5
    level = Level.vp(torch.full((3,), s, dtype=torch.float64))
    level = replace(level, decay=torch.full((3,), (s - after) / s, dtype=torch.float64))
    got = APFO(cfg_scale=1.0, twin=IDENTITY)(prior, z, terms(prior, 3), level, noise).gradient
    y = z + s * noise
    denoised = (STD**2 * y + s**2 * MEAN) / (STD**2 + s**2)
    euler = y + (after - s) * (y - denoised) / s
    torch.testing.assert_close(z - got, euler - after * noise)


def test_the_mean_of_renders_follows_the_flow_in_closed_form(generator):
    """m(s) = mu + (m_T - mu) sqrt((tau^2 + s^2) / (tau^2 + s_T^2)): toward the prior, whatever the paper's sign."""
    prior = gaussian()
    z = 3.0 + 0.3 * torch.randn(4000, 1, 2, 2, generator=generator, dtype=torch.float64)
    start = float(z.mean())
    schedule = Trajectory(start=0.9, end=0.05, levels=400)
    sigmas = schedule.sigmas(prior)
    method = APFO(cfg_scale=1.0)
    for i in range(400):
        level = schedule.draw(prior, len(z), i / 400, generator)
        level = Level(level.alpha_t.double(), level.sigma_t.double(), level.decay.double())
        noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
        z = z - method(prior, z, terms(prior, len(z)), level, noise, Exact(z)).gradient
        if i % 100 == 99:
            s = sigmas[i + 1]
            expected = MEAN + (start - MEAN) * ((STD**2 + s**2) / (STD**2 + sigmas[0] ** 2)).sqrt()
            assert abs(float(z.mean() - expected)) < 0.03


@pytest.mark.parametrize("spread", [1.5, 0.3])
def test_the_variance_of_renders_follows_the_flow_in_closed_form(spread, generator):
    """(q - tau^2) exp(q / (tau^2 + s^2)) stays as it is, q being the renders' variance: docs/distillers.md derives it.

    A twin that does not know how the renders are spread, D(x) = x, breaks it.
    """
    prior, schedule, q0 = gaussian(), Trajectory(start=0.9, end=0.05, levels=500), spread**2
    sigmas = schedule.sigmas(prior)

    def kept(q, s):
        return (q - STD**2) * math.exp(q / (STD**2 + float(s) ** 2))

    def travelled(twin, method):
        z = MEAN + spread * torch.randn(4000, 1, 2, 2, generator=generator, dtype=torch.float64)
        for i in range(schedule.levels):
            level = schedule.draw(prior, len(z), i / schedule.levels, generator)
            level = Level(level.alpha_t.double(), level.sigma_t.double(), level.decay.double())
            noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
            z = z - method(prior, z, terms(prior, len(z)), level, noise, twin and twin(z)).gradient
        return float(z.var())

    start, end = kept(q0, sigmas[0]), sigmas[-1]
    assert kept(travelled(Exact, APFO(cfg_scale=1.0)), end) == pytest.approx(start, rel=0.06)
    assert kept(travelled(None, APFO(cfg_scale=1.0, twin=IDENTITY)), end) != pytest.approx(start, rel=0.3)


@pytest.mark.parametrize(("steps", "levels"), [(600, 600), (200, 200), (150, 150), (4000, 800), (2000, 400), (7, 3)])
def test_every_level_has_its_steps(steps, levels, generator):
    prior, schedule = gaussian(), Trajectory(start=0.9, end=0.2, levels=levels)
    sigmas = schedule.sigmas(prior).float()
    seen = [float(schedule.draw(prior, 1, step / steps, generator).sigma_ve) for step in range(steps)]
    place = [int((sigmas - s).abs().argmin()) for s in seen]
    assert place == [step * levels // steps for step in range(steps)]


def test_a_trajectory_ends_in_no_noise_and_stays_where_the_prior_was_trained():
    prior = gaussian()
    prior.sigma_range = (0.05, 3.0)
    for curve in ("time", "log", "karras"):
        sigmas = Trajectory(start=1.0, end=0.0, levels=20, curve=curve).sigmas(prior)
        assert float(sigmas[0]) == pytest.approx(3.0)
        assert float(sigmas[-1]) == 0.0
        assert float(sigmas[-2]) == pytest.approx(0.05)
        assert (sigmas.diff() < 0).all()
    assert Trajectory(start=1.0, end=0.0, levels=1).sigmas(prior).tolist() == pytest.approx([3.0, 0.0])
    for start, end in ((0.9, 0.2), (0.5, 0.01)):
        with pytest.raises(ScoreliftError, match=r"a time between 0.032 and 0.795"):
            Trajectory(start=start, end=end).sigmas(prior)


def test_the_flow_lands_on_the_data(generator):
    """On an empirical prior, renders that each know themselves end at its pictures."""
    points = torch.tensor([[-1.0, 0.2], [0.3, 0.9], [0.8, -0.7]], dtype=torch.float64)
    prior = EmpiricalPrior({"x": points.view(3, 2, 1, 1)})
    z = torch.randn(50, 2, 1, 1, generator=generator, dtype=torch.float64)
    schedule = Trajectory(start=0.8, end=0.01, levels=200)
    for i in range(200):
        level = schedule.draw(prior, 50, i / 200, generator)
        level = Level(level.alpha_t.double(), level.sigma_t.double(), level.decay.double())
        noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
        z = z - APFO(cfg_scale=1.0, twin=IDENTITY)(prior, z, terms(prior, 50), level, noise).gradient
    gap = torch.cdist(z.flatten(1), points).amin(1)
    assert gap.max() < 0.2  # from about 1
    assert gap.median() < 0.06
    with pytest.raises(ScoreliftError, match="Trajectory"):
        APFO(twin=NONE)(prior, z, terms(prior, 50), Level.vp(torch.ones(50)), z)


def test_without_a_twin_a_picture_is_changed_as_far_as_the_first_level_goes(generator):
    """D_phi(y) = y: from little noise a picture keeps what it shows, from much it becomes another (SDEdit)."""
    points = torch.tensor([[-1.0, 0.2], [0.3, 0.9], [0.8, -0.7]], dtype=torch.float64)
    prior = EmpiricalPrior({"x": points.view(3, 2, 1, 1)})
    begun = (points[0] + torch.tensor([0.25, -0.2], dtype=torch.float64)).view(1, 2, 1, 1).expand(60, -1, -1, -1)
    kept = {}
    for start in (0.2, 0.95):
        schedule, z = Trajectory(start=start, end=0.01, levels=100), begun
        for i in range(100):
            level = schedule.draw(prior, 60, i / 100, generator)
            level = Level(level.alpha_t.double(), level.sigma_t.double(), level.decay.double())
            noise = torch.randn(z.shape, generator=generator, dtype=torch.float64)
            gradient = APFO(cfg_scale=1.0, twin=NONE)(prior, z, terms(prior, 60), level, noise).gradient
            y = z + level.sigma_ve.view(-1, 1, 1, 1) * noise
            denoised = prior.predict_x0(level.add_noise(z, noise), level, terms(prior, 60).full)
            torch.testing.assert_close(gradient, level.decay.view(-1, 1, 1, 1) * (y - denoised))
            z = z - gradient
        gap = torch.cdist(z.flatten(1), points)
        kept[start] = float((gap.argmin(1) == 0).double().mean())
        assert gap.amin(1).median() < 0.1  # from .32
    assert kept[0.2] == 1.0
    assert kept[0.95] < 0.8


@pytest.mark.parametrize("curve", ["time", "log", "karras"])
def test_a_trajectory_falls_from_its_start_to_its_end(curve):
    prior = gaussian()
    schedule = Trajectory(start=0.9, end=0.2, levels=50, curve=curve)
    sigmas = schedule.sigmas(prior)
    ends = prior.schedule.level(torch.tensor([0.9, 0.2], dtype=torch.float64)).sigma_ve
    torch.testing.assert_close(sigmas[[0, -1]], ends)
    assert (sigmas.diff() < 0).all()
    level = schedule.draw(prior, 2, 0.5, torch.Generator())
    torch.testing.assert_close(level.sigma_ve, sigmas[25].float().repeat(2))
    torch.testing.assert_close(level.decay * level.sigma_ve, (sigmas[25] - sigmas[26]).float().repeat(2))
    with pytest.raises(ScoreliftError, match="noise: expected 0 <= end"):
        Trajectory(start=0.2, end=0.9)


def test_dreamtime_spends_its_steps_where_the_weight_is(generator):
    prior = gaussian()
    schedule = DreamTime()
    times = [schedule.time(prior, i / 100) for i in range(101)]
    assert times[0] == pytest.approx(0.98)
    assert all(a >= b for a, b in pairwise(times))
    grid = torch.linspace(0.02, 0.98, 2000, dtype=torch.float64)
    weight = prior.schedule.level(grid).sigma_ve * torch.exp(-((grid - 0.5) ** 2) / (2 * 0.125**2))
    for progress in (0.25, 0.5, 0.75):
        above = float(weight[grid >= schedule.time(prior, progress)].sum() / weight.sum())
        assert above == pytest.approx(progress, abs=0.01)
    level = schedule.draw(prior, 3, 0.5, generator)
    assert level.sigma_t.shape == (3,)
    with pytest.raises(ScoreliftError, match="noise times"):
        DreamTime(low=0.5, high=0.4)


@pytest.fixture(scope="module")
def prior():
    return load_toybox()


def poses(cameras: Cameras):
    return cameras.c2w[:, :3].flatten(1)


def test_a_lesson_is_the_error_of_v(generator):
    z, noise = draw(generator)
    level, twin = Level.vp(torch.tensor([0.1, 1.0, 8.0], dtype=torch.float64)), Exact(z)
    z_t = level.add_noise(z, noise)
    error = level.v_from_x0(z_t, twin.x0(z_t, level, None)) - level.v_from_x0(z_t, z)
    torch.testing.assert_close(twin.loss(z, terms(gaussian(), 3), level, noise), error.square().mean())


def test_a_twin_begins_as_the_prior_and_leaves_it_alone(prior):
    told = terms_of(prior)
    z = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    z = torch.nn.functional.interpolate(z, (64, 64), mode="bilinear")
    level = Level.vp(torch.tensor([0.5, 2.0]))
    before = prior.predict_x0(z, level, told.plain)
    twin = Twin(prior, TwinConfig(rate=0.01), seed=0)
    torch.testing.assert_close(twin.x0(z, level, told), before, atol=0, rtol=0)
    losses = []
    for step in range(12):
        generator = torch.Generator().manual_seed(step % 3)
        at = twin.config.noise.draw(prior, 2, 0.0, generator)
        loss = twin.loss(z, told, at, torch.randn(z.shape, generator=generator))
        twin.optimizer.zero_grad()
        loss.backward()
        twin.optimizer.step()
        losses.append(float(loss.detach()))
    assert sum(losses[-3:]) < 0.8 * sum(losses[:3])  # it learns the renders ...
    for name, p in twin.adapters.named_parameters():
        assert p.grad is not None, name
        assert p.grad.abs().sum() > 0, name
    assert (twin.x0(z, level, told) - before).abs().max() > 0.01
    torch.testing.assert_close(prior.predict_x0(z, level, told.plain), before, atol=0, rtol=0)  # ... the prior does not
    assert all(p.grad is None for p in prior.net.parameters())
    far = replace(told, pose=-told.pose)
    assert (twin.x0(z, level, far) - twin.x0(z, level, told)).abs().max() > 1e-5  # it hears the camera
    torch.testing.assert_close(  # and no view phrase
        twin.x0(z, level, replace(told, full=told.uncond)), twin.x0(z, level, told), atol=0, rtol=0
    )
    twin.adapters.remove()


def terms_of(prior):
    full, plain, uncond = (prior.encode_prompts([said] * 2) for said in ("a red mushroom, back", "a red mushroom", ""))
    return Terms(full, plain, uncond, pose=poses(ring(2)))


@pytest.mark.parametrize("method", [VSD(), APFO()])
def test_a_run_with_a_twin_resumes_exactly(method, prior):
    stage = CanvasRecipe().picture
    stage = replace(stage, steps=4, size=32, views=2, distiller=method, noise=Trajectory(levels=4, start=0.9),
                    scene=replace(stage.scene, pictures=2, resolution=32))  # fmt: skip

    def begin():
        torch.manual_seed(0)
        return Loop("picture", stage, build_scene(stage.scene), prior, "a red mushroom", seed=0)

    whole = begin()
    for _ in range(4):
        log = whole.one_step()
    assert log.twin > 0
    first, second = begin(), None
    for _ in range(2):
        first.one_step()
    state = first.state()
    first.close()
    second = begin()
    second.load(state)
    for _ in range(2):
        second.one_step()
    for a, b in zip(whole.scene.parameters(), second.scene.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=0, rtol=0)
    whole.close()
    second.close()


def begun(prior, twin, noise):
    stage = CanvasRecipe().picture
    stage = replace(stage, steps=4, size=32, views=2, distiller=APFO(twin=twin), noise=noise,
                    scene=replace(stage.scene, pictures=2, resolution=32))  # fmt: skip
    torch.manual_seed(0)
    return Loop("picture", stage, build_scene(stage.scene), prior, "a red mushroom", seed=0)


def test_a_twin_learns_at_the_scenes_level_or_at_its_own(prior, monkeypatch):
    heard, plain = [], Twin.loss
    monkeypatch.setattr(Twin, "loss", lambda twin, z, terms, level, noise: (
        heard.append(level.sigma_ve.tolist()), plain(twin, z, terms, level, noise))[1])  # fmt: skip
    way = Trajectory(levels=4, start=0.9)
    for along in (True, False):
        loop = begun(prior, TwinConfig(along=along), way)
        for _ in range(2):
            loop.one_step()
        loop.close()
    for step, sigma in enumerate(way.sigmas(prior)[:2].tolist()):
        assert heard[step] == pytest.approx([sigma, sigma])
        assert heard[2 + step] != pytest.approx([sigma, sigma])


def test_a_lessons_noise_is_fresh(prior, monkeypatch):
    """Neither the scene's noise again nor the numbers that the step's source begins with."""
    drawn, plain = [], Loop._noise
    monkeypatch.setattr(Loop, "_noise", lambda *args: (drawn.append(plain(*args)), drawn[-1])[1])
    loop = begun(prior, TwinConfig(along=True), Trajectory(levels=4, start=0.9))
    loop.one_step()
    loop.close()
    (_, scenes), (_, lessons) = drawn
    for other in (scenes, torch.randn(lessons.shape, generator=step_generator(0, "picture", 0))):
        assert float((lessons - other).abs().mean()) == pytest.approx(2 / math.pi**0.5, rel=0.1)


def test_a_lesson_is_given_loudly_and_heard_as_it_was(prior, monkeypatch):
    """Half precision would round a mean's gradient away; what the optimizer sees is the loss's own."""
    loop = begun(prior, TwinConfig(), Trajectory(levels=4, start=0.9))
    rows, plain, backward = list(loop.twin.adapters.parameters()), Twin.loss, torch.Tensor.backward
    spoken, alone = [], []

    def loss(*args):
        spoken.append(plain(*args))
        alone.extend(torch.autograd.grad(spoken[0], rows, retain_graph=True, allow_unused=True))
        return spoken[0]

    def loudly(t):
        assert float(t.detach() / spoken[0].detach()) == 2 ** round(math.log2(3 * 32 * 32))
        backward(t)

    monkeypatch.setattr(Twin, "loss", loss)
    monkeypatch.setattr(torch.Tensor, "backward", loudly)
    loop.one_step()
    for row, gradient in zip(rows, alone, strict=True):  # at 32 x 32 the finest part of the network rests
        assert (row.grad is None) == (gradient is None)
        if gradient is not None:
            torch.testing.assert_close(row.grad, gradient)
    loop.close()


def test_a_prior_without_a_network_has_no_twin():
    with pytest.raises(ScoreliftError, match="no network"):
        Twin(gaussian(), TwinConfig(), seed=0)
