import dataclasses
import math

import pytest
import torch

from scorelift.core.camera_samplers import RingSampler
from scorelift.core.cameras import Cameras
from scorelift.core.errors import ScoreliftError
from scorelift.core.lights import Lights
from scorelift.kernels.composite import weights_packed
from scorelift.scenes import Environment, HashConfig, Volume, VoxelConfig, VoxelField, build_scene
from scorelift.scenes.base import Render
from scorelift.scenes.fields import box_span
from scorelift.scenes.losses import (
    emptiness_loss,
    entropy_loss,
    opacity_loss,
    orientation_loss,
    transmittance_loss,
)
from scorelift.scenes.occupancy import grown


def cameras(n=1) -> Cameras:
    return RingSampler(count=5).ring()[torch.arange(n)]


def volume(resolution=12, **changes) -> Volume:
    torch.manual_seed(1)
    scene = Volume(VoxelField(VoxelConfig(resolution=resolution, **changes))).double()
    with torch.no_grad():
        scene.field.albedo.normal_(0, 2)
        scene.field.density.add_(0.5 * torch.randn_like(scene.field.density))
    return scene


def double(c: Cameras) -> Cameras:
    return Cameras(c.c2w.double(), c.fovy_deg.double(), c.elevation_deg.double(), c.azimuth_deg.double())


def naive_render(scene: Volume, camera: Cameras, size: int, background: float):
    """One ray, one sample at a time, by the formulas."""
    origin, direction = camera.rays(size, size)
    rgb = torch.zeros(3, size, size, dtype=torch.float64)
    alpha = torch.zeros(size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(size):
            o, d = origin[0], direction[0, i, j]
            b = float(o @ d)
            disc = b * b - float(o @ o) + 1
            if disc <= 0:
                rgb[:, i, j] = background
                continue
            t, light = -b - math.sqrt(disc) + 0.5 * scene.field.delta, 1.0
            while t < -b + math.sqrt(disc):
                lookup = scene.field.at((o + t * d)[None])
                density, albedo = lookup.density(), lookup.albedo()
                a = 1 - math.exp(-float(density[0]) * scene.field.delta)
                rgb[:, i, j] += light * a * albedo[0]
                alpha[i, j] += light * a
                light *= 1 - a
                t += scene.field.delta
            rgb[:, i, j] += light * background
    return rgb, alpha


def test_agrees_with_a_naive_loop():
    scene, camera = volume(), double(cameras())
    render = scene.render(camera, 10, background=torch.full((1, 3, 1, 1), 0.3, dtype=torch.float64))
    with torch.no_grad():
        rgb, alpha = naive_render(scene, camera, 10, 0.3)
    # Samples behind 99.99 % of opacity are left out.
    torch.testing.assert_close(render.rgb[0], rgb, atol=2e-4, rtol=0)
    torch.testing.assert_close(render.opacity[0, 0], alpha, atol=2e-4, rtol=0)


def straight(views: Cameras, size: int):
    """Rays of cameras, samples in the middle of their intervals."""
    origin, direction = views.rays(size, size)
    direction = direction.reshape(-1, 3)
    return origin.repeat_interleave(size * size, 0), direction, torch.full_like(direction[:, 0], 0.5)


def weights(scene: Volume, views: Cameras, size: int):
    """Each sample's weight, and the cosine of its normal to its ray."""
    rays = straight(views, size)
    march = scene.field.march(*rays)
    weight = weights_packed(march.lookup.density(), march.delta, march.ray, len(rays[0]))[0]
    return weight, (march.lookup.normal() * rays[1][march.ray]).sum(-1)


def test_skipping_empty_voxels_changes_nothing_visible():
    scene = volume(24, blob_depth=12.0)
    with torch.no_grad():
        scene.field.density.sub_(3)
    background = torch.full((2, 3, 1, 1), 0.3, dtype=torch.float64)
    everything = scene.render(double(cameras(2)), 16, background=background)
    before = len(scene.field.march(*straight(double(cameras(2)), 16)).ray)
    scene.update(0, 0.5)
    assert 0.01 < float(scene.field.occupied.double().mean()) < 0.9
    skipped = scene.render(double(cameras(2)), 16, background=background)
    assert len(scene.field.march(*straight(double(cameras(2)), 16)).ray) < before
    assert float((everything.rgb - skipped.rgb).detach().abs().max()) < 0.03


@pytest.mark.parametrize("shading", ["albedo", "shaded", "textureless"])
def test_gradients_by_finite_differences(shading):
    scene, camera = volume(8, density_scale=2.0), double(cameras())
    lights = Lights(camera.position + 0.3, torch.tensor([0.3], dtype=torch.float64))
    weight = torch.randn(1, 3, 6, 6, dtype=torch.float64)

    def loss():
        return (scene.render(camera, 6, lights=lights, shading=shading).rgb * weight).sum()

    loss().backward()
    step = 1e-6
    for parameter in (scene.field.density, scene.field.albedo):
        if parameter is scene.field.albedo and shading == "textureless":
            assert parameter.grad is None
            continue
        flat, grad = parameter.data.view(-1), parameter.grad.view(-1)
        for k in [*grad.abs().topk(4).indices.tolist(), 0, len(flat) // 2]:
            kept = float(flat[k])
            values = []
            for sign in (1, -1):
                flat[k] = kept + sign * step
                values.append(float(loss().detach()))
            flat[k] = kept
            assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(grad[k]), rel=1e-4, abs=1e-7)


def ball(resolution=48, radius=0.6) -> Volume:
    """A hard white ball."""
    scene = Volume(VoxelField(VoxelConfig(resolution=resolution)))
    axis = torch.linspace(-1, 1, resolution)
    r = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    with torch.no_grad():
        scene.field.density.copy_((60 * (radius - r)).clamp(-20, 20)[..., None])
        scene.field.albedo.fill_(8.0)
    return scene


def test_a_ball_has_its_depth_and_normals():
    camera = RingSampler(count=1, elevation_deg=0.0).ring()
    with torch.no_grad():
        render = ball().render(camera, 33, lights=Lights(camera.position, torch.tensor([0.2])), shading="shaded")
    assert float(render.depth[0, 0, 16, 16]) == pytest.approx(3.0 - 0.6, abs=0.04)
    torch.testing.assert_close(render.normal[0, :, 16, 16], torch.tensor([1.0, 0.0, 0.0]), atol=0.05, rtol=0)
    assert float(render.rgb[0, 0, 16, 16]) == pytest.approx(1.0, abs=0.03)  # lit head on
    edge = int((render.opacity[0, 0, 16] > 0.9).nonzero().min()) + 1
    assert float(render.rgb[0, 0, 16, edge]) < 0.7  # turns away from the light
    assert float(render.normal[0, 1, 16, 8]) < -0.2 < 0.2 < float(render.normal[0, 1, 16, 24])


def test_light_from_the_left_lights_the_left():
    camera = RingSampler(count=1, elevation_deg=0.0).ring()
    lights = Lights(torch.tensor([[0.0, 5.0, 0.0]]), torch.tensor([0.1]))  # +y is on the right of the front view
    rgb = ball().render(camera, 32, lights=lights, shading="textureless").rgb[0, 0]
    assert float(rgb[16, 24]) > 2 * float(rgb[16, 8])


def test_shading_needs_lights():
    with pytest.raises(ScoreliftError, match="lights"):
        ball(8).render(cameras(), 8, shading="shaded")


def test_nothing_outside_the_ball_and_empty_views():
    scene = ball(16)
    density = scene.field.at(torch.tensor([[0.9, 0.9, 0.9], [0.0, 0.0, 0.0]])).density()
    assert density[0] == 0
    assert density[1] > 0
    away = cameras()
    away = Cameras(
        away.c2w @ torch.diag(torch.tensor([1.0, 1, -1, 1])), away.fovy_deg, away.elevation_deg, away.azimuth_deg
    )
    assert float(scene.render(away, 8).opacity.abs().max()) == 0


def test_jitter_moves_the_samples_of_its_ray():
    scene, camera = volume(), double(cameras())
    middle = scene.render(camera, 8).rgb
    jitter = torch.full((1, 8, 8), 0.5, dtype=torch.float64)
    assert torch.equal(scene.render(camera, 8, jitter=jitter).rgb, middle)
    jitter[0, 4, 4] = 0.1
    moved = scene.render(camera, 8, jitter=jitter).rgb
    differs = ((moved - middle).abs() > 1e-12).any(1)  # sums over all rays share their rounding
    assert bool(differs[0, 4, 4])
    assert int(differs.sum()) == 1


def test_the_next_stage_takes_the_field_over():
    coarse = ball(24)
    fine = build_scene(VoxelConfig(resolution=40), coarse)
    points = torch.rand(500, 3) * 1.4 - 0.7
    a, b = (s.field.at(points).density() > 1 for s in (coarse, fine))
    assert float((a == b).float().mean()) > 0.95


def test_a_field_of_another_density_scale_keeps_its_densities():
    first = build_scene(VoxelConfig(resolution=9, density_scale=30.0))
    other = build_scene(VoxelConfig(resolution=9, density_scale=1.0, density_shift=-1.0), first)
    wanted, got = (scene.field.activate(scene.field.raw()) for scene in (first, other))
    assert float(wanted.max()) > 10
    torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("change", [{"density_bias": 1.0}, {"blob": 3.0}, {"extent": 2.0}])
def test_networks_do_not_go_on_with_other_densities(change):
    config = HashConfig(levels=2, log2_rows=8, finest=32, coarse_samples=8, environment=False)
    with pytest.raises(ScoreliftError, match=rf"scene.{next(iter(change))}: expected .*to start from"):
        build_scene(dataclasses.replace(config, **change), build_scene(config))


def test_a_learned_background_goes_on():
    first = build_scene(VoxelConfig(resolution=9, environment=True))
    with torch.no_grad():
        first.environment.colours.copy_(torch.randn_like(first.environment.colours))
    again = build_scene(VoxelConfig(resolution=9, environment=True), first)
    assert torch.equal(again.environment.colours, first.environment.colours)
    assert build_scene(VoxelConfig(resolution=9), first).environment is None


def test_a_field_taken_over_keeps_its_density_at_another_shift_and_gain():
    first = Volume(VoxelField(VoxelConfig(resolution=8, learned_gain=True)))
    first.field.log_gain.data.fill_(math.log(1.5))
    second = build_scene(VoxelConfig(resolution=8, density_shift=-1.0), first)
    xyz = torch.rand(50, 3) - 0.5
    torch.testing.assert_close(second.field.at(xyz).density(), first.field.at(xyz).density())


def test_samples_are_a_step_of_so_many_voxels_apart():
    field = VoxelField(VoxelConfig(resolution=9, step=0.5))
    assert field.delta == 0.125
    depth = field.march(torch.tensor([[3.0, 0, 0]]), torch.tensor([[-1.0, 0, 0]]), torch.tensor([0.5])).depth
    torch.testing.assert_close(depth[:3], torch.tensor([2.0625, 2.1875, 2.3125]))


def test_the_background_lies_where_its_directions_point():
    """Columns from azimuth -180 to 180 degrees, rows from elevation -90 to 90; the first column follows the last."""
    sky = Environment(4, latent=3)
    sky.colours.data.copy_(torch.arange(16.0).view(4, 4))
    azimuth, elevation = (torch.deg2rad(torch.tensor([-135.0, -45, 45, 135]) / by) for by in (1, 2))
    elevation, azimuth = torch.meshgrid(elevation, torch.cat([azimuth, torch.tensor([math.pi])]), indexing="ij")
    flat = elevation.cos()
    seen = sky(torch.stack([flat * azimuth.cos(), flat * azimuth.sin(), elevation.sin()], -1)[None])[0, 0]
    torch.testing.assert_close(seen[:, :4], sky.colours[0, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(seen[:, 4], sky.colours[0, 0][:, [0, 3]].mean(1), atol=1e-3, rtol=0)


def test_a_learned_background_is_seen_and_trained():
    scene = build_scene(VoxelConfig(resolution=8, environment=True))
    assert isinstance(scene.environment, Environment)
    render = scene.render(cameras(2), 8)
    render.rgb.sum().backward()
    assert float(scene.environment.colours.grad.abs().sum()) > 0
    grouped = {id(p) for group in scene.groups(1.0) for p in group["params"]}
    assert grouped == {id(p) for p in scene.parameters()}


def test_regularizers_by_hand():
    scene = ball(16)
    camera = cameras()
    render = scene.render(camera, 8, lights=Lights(camera.position, torch.ones(1)), shading="shaded")
    weight, facing = weights(scene, camera, 8)
    assert float(opacity_loss(render)) == pytest.approx(float((render.opacity**2 + 0.01).sqrt().mean()), rel=1e-6)
    by_hand = sum(math.log(1 + 10 * w) for w in weight.tolist()) / 64
    assert float(emptiness_loss(render)) == pytest.approx(by_hand, rel=1e-5)
    halves = Render(rgb=torch.zeros(1, 3, 1, 3), opacity=torch.tensor([0.5, 1.0, 0.25]).view(1, 1, 1, 3))
    assert float(entropy_loss(halves)) == pytest.approx((1 + 0 + 0.8113) / 3, abs=1e-3)  # bits
    empty = 1 - float(render.opacity.mean())
    assert float(transmittance_loss(render, 1.0)) == pytest.approx(-empty, rel=1e-6)
    assert float(transmittance_loss(render, empty / 2)) == pytest.approx(-empty / 2, rel=1e-6)
    two = Render(rgb=torch.zeros(2, 3, 1, 1), opacity=torch.tensor([0.9, 0.3]).view(2, 1, 1, 1))
    assert float(transmittance_loss(two, 0.5)) == pytest.approx(-(0.1 + 0.5) / 2, rel=1e-6)  # each by itself
    behind = sum(w * max(0.0, f) ** 2 for w, f in zip(weight.tolist(), facing.tolist(), strict=True)) / 64
    assert float(orientation_loss(render)) == pytest.approx(behind, rel=1e-4, abs=1e-9)
    with pytest.raises(ScoreliftError, match="normals were not rendered"):
        orientation_loss(scene.render(camera, 8))
    field = VoxelField(VoxelConfig(resolution=8))
    with torch.no_grad():
        field.density.zero_()
        field.density[3, 3, 3] = 1
    assert float(field.roughness()) == pytest.approx(3 * 2 / (7 * 8 * 8))


def test_orientation_does_not_shrink_the_object():
    """The weights carry no gradient (DreamFusion, A.2): only normals do."""
    scene, camera = volume(10), double(cameras())
    lights = Lights(camera.position, torch.ones(1, dtype=torch.float64))
    render = scene.render(camera, 8, lights=lights, shading="shaded")
    (by_normals,) = torch.autograd.grad(orientation_loss(render), scene.field.density, retain_graph=True)
    weight, facing = weights(scene, camera, 8)
    loss = (weight.detach() * facing.clamp_min(0) ** 2).sum() / 64
    (same,) = torch.autograd.grad(loss, scene.field.density)
    torch.testing.assert_close(by_normals, same)
    assert float(by_normals.abs().sum()) > 0


def test_a_box_ends_where_its_grid_ends():
    origin = torch.tensor([[3.0, 0.0, 0.0], [3.0, 0.9, 0.9], [3.0, 2.0, 0.0], [0.0, 0.0, 0.0], [3.0, 3.0, 3.0]])
    direction = torch.tensor([[-1.0, 0, 0], [-1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [-1.0, -1, -1]])
    direction = direction / direction.norm(dim=-1, keepdim=True)
    near, far = box_span(origin, direction, 1.0)
    torch.testing.assert_close(near[[0, 1, 3, 4]], torch.tensor([2.0, 2.0, 0.0, 2 * 3**0.5]))
    torch.testing.assert_close(far[[0, 1, 3, 4]], torch.tensor([4.0, 4.0, 1.0, 4 * 3**0.5]))
    assert float(far[2] - near[2]) == 0
    corner = torch.tensor([[0.9, 0.9, 0.9]])
    box, ball_ = (VoxelField(VoxelConfig(resolution=8, blob_depth=0.0, shape=s)) for s in ("box", "ball"))
    assert float(box.at(corner).density()) > 0
    assert float(ball_.at(corner).density()) == 0


def test_a_learned_gain_scales_what_is_activated():
    field = VoxelField(VoxelConfig(resolution=8, learned_gain=True, density_shift=-1.0, density_scale=2.0))
    with torch.no_grad():
        field.density.fill_(0.5)
        field.log_gain.fill_(math.log(3.0))
    density = field.at(torch.zeros(1, 3)).density()
    assert float(density.detach()) == pytest.approx(2 * math.log(1 + math.exp(0.5)), rel=1e-5)
    density.sum().backward()
    assert float(field.log_gain.grad) == pytest.approx(2 * 1.5 / (1 + math.exp(-0.5)), rel=1e-5)
    grouped = {id(p) for group in field.groups(1.0) for p in group["params"]}
    assert grouped == {id(p) for p in field.parameters()}


def test_a_mask_grows_by_its_neighbours(generator):
    mask = torch.rand(7, 8, 9, generator=generator) < 0.02
    pooled = torch.nn.functional.max_pool3d(mask[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0
    assert torch.equal(grown(mask), pooled)


@pytest.mark.parametrize("bad", [{"resolution": 4}, {"step": 0.0}, {"density_scale": -1.0}, {"blob_sharpness": -1.0}])
def test_bad_configurations(bad):
    with pytest.raises(ScoreliftError, match=next(iter(bad))):
        VoxelConfig(**bad)
