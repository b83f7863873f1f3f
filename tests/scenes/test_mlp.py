import math
from dataclasses import replace

import pytest
import torch

from scorelift.core.camera_samplers import RingSampler, ring
from scorelift.core.cameras import Cameras
from scorelift.core.lights import Lights
from scorelift.scenes import Volume, build_scene
from scorelift.scenes.mlp import MLPConfig, MLPField, Sky, integrated_encoding
from scorelift.scenes.network import refine
from scorelift.scenes.occupancy import Occupancy

SMALL = MLPConfig(frequencies=3, blocks=2, width=16, coarse_samples=24, fine_samples=16, environment=False)


def field(**changes) -> MLPField:
    torch.manual_seed(2)
    net = MLPField(MLPConfig(**{**SMALL.__dict__, **changes}))
    with torch.no_grad():
        net.net.last.weight.normal_(0, 0.5)
    return net


def test_encoding_by_hand():
    got = integrated_encoding(torch.tensor([[0.3, -0.7]]), 0.1, 2)
    waves = [
        (f(2**k * x) * math.exp(-0.5 * (2**k * 0.1) ** 2))
        for f in (math.sin, math.cos)
        for k in (0, 1)
        for x in (0.3, -0.7)
    ]
    torch.testing.assert_close(got[0], torch.tensor(waves))


def test_encoding_is_the_expectation(generator):
    mean, spread = torch.tensor([[0.4]]), 0.3
    draws = mean + spread * torch.randn(400_000, 1, generator=generator)
    sampled = integrated_encoding(draws, 0.0, 3).mean(0)
    torch.testing.assert_close(integrated_encoding(mean, spread, 3)[0], sampled, atol=5e-3, rtol=0)


def test_the_papers_network():
    config = MLPConfig()
    net = MLPField(config)
    linear = [m for m in net.net.blocks.modules() if isinstance(m, torch.nn.Linear)]
    assert (len(net.net.blocks), {m.out_features for m in linear}) == (5, {128})
    assert net.net.first.in_features == 2 * 3 * 8
    assert net.spread == 2e-3  # a field that is not being optimized shows all that it has learned
    net.update(0, 0.0)
    assert net.spread == 5e-2
    net.update(5000, 5000 / 15000)
    assert net.spread == pytest.approx(2e-3)


def test_the_blob_by_hand():
    net = field()
    with torch.no_grad():
        net.net.last.weight.zero_()
    density = net.at(torch.tensor([[0.0, 0, 0], [0.2, 0, 0], [0, 1.5, 0]])).density()
    torch.testing.assert_close(density, torch.tensor([1 + 5.0, 1 + 5 * math.exp(-0.5), 0.0]))


@pytest.mark.parametrize("kind", ["analytic", "differences"])
def test_normals_point_down_the_density(kind):
    net = field(normals=kind, difference=1e-3).double()
    xyz = torch.rand(40, 3, dtype=torch.float64) - 0.5
    normal = net.at(xyz).normal()
    step = 1e-5 * normal.detach()
    with torch.no_grad():
        up, down = net.at(xyz - step).density(), net.at(xyz + step).density()
        side = torch.linalg.cross(normal, torch.ones_like(normal))
        along = net.at(xyz + 1e-5 * side).density() - net.at(xyz - 1e-5 * side).density()
    assert bool((up > down).all())
    assert float((along / (up - down)).abs().max()) < 0.03
    assert normal.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(net.at(xyz).normal(), normal.detach())


def test_gradients_reach_every_parameter_through_shading():
    net = field().double()
    ring = RingSampler(count=3).ring()
    camera = Cameras(ring.c2w.double(), ring.fovy_deg.double(), ring.elevation_deg.double(), ring.azimuth_deg.double())
    lights = Lights(camera.position * 0.5, torch.full((3,), 0.1, dtype=torch.float64))
    scene = Volume(net, Sky(8).double())
    weight = torch.randn(3, 3, 4, 4, dtype=torch.float64)

    def loss():
        return (scene.render(camera, 4, lights=lights, shading="shaded").rgb * weight).sum()

    loss().backward()
    held = {id(p) for group in scene.groups(1.0) for p in group["params"]}
    assert held == {id(p) for p in scene.parameters()}
    for name, parameter in scene.named_parameters():
        assert parameter.grad is not None, name
    parameter = net.net.first.weight
    k = int(parameter.grad.abs().argmax())
    flat, step, values = parameter.data.view(-1), 1e-6, []
    kept = float(flat[k])
    for sign in (1, -1):
        flat[k] = kept + sign * step
        values.append(float(loss().detach()))
    flat[k] = kept
    # Importance samples move with the density; their places carry no gradient, so a little is missing.
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(parameter.grad.view(-1)[k]), rel=0.1)


def test_fine_samples_go_where_the_weight_is():
    edges = torch.linspace(0, 1, 11)[None]
    weights = torch.zeros(1, 10)
    weights[0, 6] = 1.0
    for jitter in (0.5, 0.1):
        new = refine(edges, weights, 20, torch.tensor([jitter]))
        assert new.shape == (1, 31)
        assert bool((new[:, 1:] >= new[:, :-1]).all())
        inside = ((new > 0.6) & (new < 0.7)).sum()
        assert int(inside) >= 18


@pytest.mark.parametrize("fine", [0, 5])
def test_samples_lie_in_their_intervals_where_the_jitter_says(fine):
    net, jitter = field(extent=1.0, coarse_samples=4, fine_samples=fine), torch.tensor([0.25, 0.75])
    march = net.march(torch.tensor([[2.0, 0, 0]] * 2), torch.tensor([[-1.0, 0, 0]] * 2), jitter)
    depth, length = march.depth.view(2, -1), march.delta.view(2, -1)
    ends = 1 + length.cumsum(1)
    torch.testing.assert_close(depth, ends - length + jitter[:, None] * length)
    torch.testing.assert_close(ends[:, -1], torch.tensor([3.0, 3.0]))


def test_the_sky_by_hand():
    sky = Sky(8)
    direction = torch.nn.functional.normalize(torch.randn(1, 2, 3, 3), dim=-1)
    waves = torch.cat([f(2**k * direction) for f in (torch.sin, torch.cos) for k in range(4)], -1)
    torch.testing.assert_close(sky(direction), sky.net(waves).sigmoid().permute(0, 3, 1, 2))


def test_a_camera_inside_the_sphere_sees_what_is_ahead():
    net = field(density_bias=-20.0)
    with torch.no_grad():
        net.net.last.weight.zero_()
    camera = RingSampler(count=1, distance=1.2, elevation_deg=0.0).ring()
    render = Volume(net).render(camera, 17)
    depth = float(render.depth[0, 0, 8, 8].detach())
    assert 1.0 < depth < 1.2  # the near side of the blob at the origin
    # Its opacity along the axis: 1 - exp(-5 * 0.2 * sqrt(2 pi)).
    assert float(render.opacity[0, 0, 8, 8].detach()) == pytest.approx(1 - math.exp(-math.sqrt(2 * math.pi)), abs=0.03)


def test_empty_cells_are_skipped_and_found_again(generator):
    """The map leaves out samples that hardly count, and follows a density that appears elsewhere."""
    net = field(occupancy=16, density_bias=-9.0, fine_samples=0, coarse_samples=40, blob=40.0, blob_width=0.15)
    scene, camera = Volume(net), RingSampler(count=1).ring()
    background = torch.full((1, 3, 1, 1), 0.3)
    with torch.no_grad():
        whole = scene.render(camera, 16, background=background)
        rays = (torch.tensor([[3.0, 0.0, 0.0]]), torch.tensor([[-1.0, 0.0, 0.0]]), torch.tensor([0.5]))
        assert len(net.march(*rays).ray) == 40
        scene.update(0, 0.0)
        assert 0 < float(net.occupancy.occupied.float().mean()) < 0.5
        assert len(net.march(*rays).ray) < 30
        skipped = scene.render(camera, 16, background=background)
        assert float((whole.rgb - skipped.rgb).abs().max()) < 0.03
        net.net.last.bias[0] = 9.0  # fog everywhere
        scene.update(8, 0.1)
        assert len(net.march(*rays).ray) < 30
        scene.update(16, 0.1)
        assert len(net.march(*rays).ray) == 40


def test_the_map_of_a_speck_is_its_cell_and_those_around_it(generator):
    speck, cells = torch.tensor([3.5, -2.5, 0.5]), Occupancy(10, 5.0)  # the middle of a cell, 1 long
    cells.renew(lambda xyz: 100.0 * ((xyz - speck).norm(dim=-1) < 0.3), 0.1)
    xyz = 10 * torch.rand(2000, 3, generator=generator) - 5
    assert torch.equal(cells.at(xyz), (xyz - speck).abs().amax(-1) < 1.5)


def test_the_map_is_part_of_the_state():
    net, other = field(occupancy=8), field(occupancy=8)
    net.occupancy.occupied[2] = False
    other.load_state_dict(net.state_dict())
    assert torch.equal(other.occupancy.occupied, net.occupancy.occupied)


def test_a_grid_of_a_small_field_looks_the_same():
    torch.manual_seed(0)
    config = MLPConfig(
        width=16, blocks=1, extent=1.0, blob=40.0, blob_width=0.3, density_bias=-5.0, coarse_samples=96, fine_samples=0
    )
    scene = build_scene(replace(config, environment=False, normals="differences"))
    scene.update(0, 1.0)
    backdrop = torch.full((2, 3, 1, 1), 0.5)
    with torch.no_grad():
        render, grid = (each.render(ring(2), 24, background=backdrop) for each in (scene, scene.gridded(96)))
    torch.testing.assert_close(grid.rgb, render.rgb, atol=0.03, rtol=0)
    torch.testing.assert_close(grid.opacity, render.opacity, atol=0.05, rtol=0)
    wide = build_scene(replace(config, extent=1.4))
    assert wide.gridded() is wide
