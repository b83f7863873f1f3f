"""Gaussians: pictures, gradients, how they part and vanish, and the volume they become."""

import math

import pytest
import torch

from scorelift.core.camera_samplers import ring
from scorelift.core.errors import EmptySceneError, ScoreliftError
from scorelift.core.lights import Lights
from scorelift.kernels.splats import splat_tiled
from scorelift.scenes import GaussianConfig, Gaussians, HashConfig, Mesh, MeshConfig, VoxelConfig, build_scene, solid
from scorelift.scenes.gaussian_volume import densities, volume_of

CAMERAS = ring(3, 20.0)


def ball(count=400, **settings):
    """An opaque ball of radius .5, red above and blue below."""
    gaussians = Gaussians(GaussianConfig(count=count, most=count + 100, opacity=0.9, **settings))
    with torch.no_grad():
        red = gaussians.place[:, 2:] > 0
        gaussians.raw_colour.copy_(torch.where(red, torch.tensor([4.0, -4, -4]), torch.tensor([-4.0, -4, 4])))
    return gaussians


def one(place=(0.0, 0.0, 0.0), scale=0.1, opacity=0.7):
    gaussians = Gaussians(GaussianConfig(count=4, most=8))
    with torch.no_grad():
        gaussians.alive[:] = torch.arange(8) == 0
        gaussians.place[0] = torch.tensor(place)
        gaussians.log_scale[0] = math.log(scale)
        gaussians.raw_opacity[0] = torch.tensor(opacity).logit()
        gaussians.raw_colour[0] = torch.tensor([0.2, 0.5, 0.8]).logit()
    return gaussians


def test_one_gaussian_by_hand():
    render = one().render(CAMERAS, 129, background=torch.ones(3, 3, 1, 1))
    middle = (..., 64, 64)
    torch.testing.assert_close(render.opacity[middle], torch.full((3, 1), 0.7), rtol=0.02, atol=0)
    opacity = render.opacity[middle]
    torch.testing.assert_close(render.rgb[middle], opacity * torch.tensor([0.2, 0.5, 0.8]) + 1 - opacity)
    torch.testing.assert_close(render.depth[middle], CAMERAS.position.norm(dim=-1, keepdim=True), rtol=1e-5, atol=0)


def test_the_nearer_one_hides_the_other():
    gaussians = one(opacity=0.98)
    with torch.no_grad():
        gaussians.alive[1] = True
        for table in (gaussians.log_scale, gaussians.raw_opacity):
            table[1] = table[0]
        gaussians.raw_colour[1] = torch.tensor([-4.0, 4, -4])
        gaussians.place[1] = torch.tensor([0.4, 0, 0])
    front, back = gaussians.render(ring(2, 0.0), 97).rgb[..., 48, 48]
    assert front[1] > 0.9 > 0.6 > back[1]


def test_gradients_of_a_whole_picture():
    gaussians = Gaussians(GaussianConfig(count=4, most=4, radius=0.3, opacity=0.5)).double()
    gaussians.blend = splat_tiled
    lights = Lights(CAMERAS.position[:1].double(), torch.tensor([0.3]).double())
    camera = ring(1, 20.0)
    camera = type(camera)(*(t.double() for t in vars(camera).values()))
    with torch.no_grad():
        for table in gaussians.parameters():
            table += 0.3 * torch.randn(table.shape, generator=torch.Generator().manual_seed(1))
    names = [name for name, _ in gaussians.named_parameters()]

    def picture(*tables):
        def show(shading):
            given = {"lights": lights, "shading": shading}
            render = torch.func.functional_call(gaussians, dict(zip(names, tables, strict=True)), (camera, 6), given)
            return torch.cat([render.rgb, render.opacity, render.depth], 1)

        return show("albedo") + show("shaded")

    Gaussians.forward = Gaussians.render  # functional_call goes by it
    try:
        assert torch.autograd.gradcheck(
            picture, [p.detach().requires_grad_() for p in gaussians.parameters()], eps=1e-7
        )
    finally:
        del Gaussians.forward


def test_light_falls_on_a_ball_as_on_any():
    gaussians, lights = ball(), Lights(3 * torch.tensor([[0.0, 0, 1]]).expand(3, 3), torch.full((3,), 0.2))
    rows = gaussians.living()
    outer = gaussians.place[rows].norm(dim=-1) > 0.42
    toward = torch.nn.functional.normalize(gaussians.place[rows][outer], dim=-1)
    assert (gaussians.normals(rows)[outer] * toward).sum(-1).mean() > 0.9
    lit = gaussians.render(CAMERAS, 24, lights=lights, shading="textureless").rgb.mean(1)
    assert lit[:, 8, 12].mean() > 2 * lit[:, 16, 12].mean()
    shaded = gaussians.render(CAMERAS, 24, lights=lights, shading="shaded").rgb
    assert shaded[:, 0, 8, 12].mean() > 5 * shaded[:, 2, 8, 12].mean()
    with torch.no_grad():  # normals are kept from picture to picture, and not beyond a change
        before = gaussians.render(CAMERAS, 24, shading="normal").rgb
        torch.testing.assert_close(gaussians.render(CAMERAS, 24, shading="normal").rgb, before)
        gaussians.place[:] = -gaussians.place
        assert not torch.allclose(gaussians.render(CAMERAS, 24, shading="normal").rgb, before, atol=0.05)
    with pytest.raises(ScoreliftError, match="lights: expected lights for 'shaded' shading"):
        gaussians.render(CAMERAS, 8, shading="shaded")


def test_two_are_as_opaque_as_the_one_was():
    gaussians = one(opacity=0.7)
    with torch.no_grad():
        gaussians._part(torch.tensor([0]), torch.tensor([5]), step=50)
    assert gaussians.living().tolist() == [0, 5]
    opacity = gaussians.raw_opacity[[0, 5]].sigmoid()
    torch.testing.assert_close(1 - (1 - opacity).prod(), torch.tensor(0.7))
    torch.testing.assert_close(gaussians.log_scale[0].exp(), torch.full((3,), 0.1 / 1.6), rtol=1e-3, atol=0)
    assert torch.equal(gaussians.raw_colour[0], gaussians.raw_colour[5])
    assert 0.01 < (gaussians.place[0] - gaussians.place[5]).norm() < 0.5


def test_the_faint_and_the_strayed_vanish_and_the_pulled_part():
    gaussians = Gaussians(GaussianConfig(count=10, most=13, growth=0.4, looks=10))
    with torch.no_grad():
        gaussians.raw_opacity[3] = -9.0
        gaussians.place[4] = torch.tensor([0.0, 1.2, 0])
    for row in (7, 8):
        gaussians.zero_grad()
        (5.0 * gaussians.place[row].sum()).backward()
        gaussians.heed()
    places = gaussians.place.detach().clone()
    gaussians.update(49, 0.098)
    assert torch.equal(gaussians.place, places)
    gaussians.update(50, 0.1)
    alive = set(gaussians.living().tolist())
    assert len(alive) == 8 + 3  # 40 % of 8 part
    moved = (gaussians.place != places).any(-1)
    assert {7, 8} <= set(moved.nonzero()[:, 0].tolist())
    assert not gaussians.pull.any()
    again = gaussians.place.detach().clone()
    gaussians.update(450, 0.9)
    assert torch.equal(gaussians.place, again)  # none parts any more


def test_a_checkpoint_is_looked_at_as_it_is():
    """Scenes that are read again are told their progress, and step 0."""
    gaussians = Gaussians(GaussianConfig(count=10, most=20))
    with torch.no_grad():
        gaussians.raw_opacity[3] = -9.0
    before = {name: value.clone() for name, value in gaussians.state_dict().items()}
    for progress in (0.0, 0.45, 1.0):
        gaussians.update(0, progress)
        for name, value in gaussians.state_dict().items():
            assert torch.equal(value, before[name]), name


def test_never_more_than_may_be():
    gaussians = Gaussians(GaussianConfig(count=10, most=12, growth=1.0))
    gaussians.update(50, 0.1)
    gaussians.update(100, 0.2)
    assert len(gaussians.living()) == 12


def test_none_left():
    gaussians = Gaussians(GaussianConfig(count=10))
    with torch.no_grad():
        gaussians.raw_opacity.fill_(-9)
    with pytest.raises(EmptySceneError, match="all have become transparent"):
        gaussians.update(50, 0.1)


@pytest.mark.parametrize(("settings", "message"), [
    ({"count": 3}, "count: expected at least 4, got 3"),
    ({"count": 50, "most": 40}, "most: expected at least 50, got 40"),
    ({"radius": 0.0}, "radius: expected a number above 0"),
    ({"opacity": 1.0}, "opacity: expected"),
    ({"growth": 1.5}, "growth: expected"),
    ({"looks": -1}, "looks: expected at least 0"),
])  # fmt: skip
def test_settings_are_checked(settings, message):
    with pytest.raises(ScoreliftError, match=message):
        GaussianConfig(**settings)


def test_a_stage_goes_on_from_anothers_gaussians():
    first = ball(50)
    with torch.no_grad():
        first.alive[10] = False
    second = build_scene(GaussianConfig(count=4, most=60), first)
    assert len(second.living()) == 49
    torch.testing.assert_close(second.render(CAMERAS, 16).rgb, first.render(CAMERAS, 16).rgb)
    with pytest.raises(ScoreliftError, match=r"scene.most: expected at least 49, .* got 48"):
        build_scene(GaussianConfig(count=4, most=48), first)
    with pytest.raises(ScoreliftError, match="expected Gaussians to start from, got 'voxels'"):
        build_scene(GaussianConfig(), build_scene(VoxelConfig(resolution=8)))


def test_densities_by_hand():
    gaussians = one(place=(0.1, -0.2, 0.3), scale=0.1, opacity=0.7)
    with torch.no_grad():
        gaussians.log_scale[0] = torch.tensor([0.1, 0.2, 0.05]).log()
        gaussians.rotation[0] = torch.tensor([0.9, 0.3, -0.2, 0.1])
    density, colour = densities(gaussians, 21)
    root = gaussians.roots(torch.tensor([0]))[0].detach()
    axis = torch.linspace(-1, 1, 21)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1) - gaussians.place[0].detach()
    q = (grid @ torch.linalg.inv(root).T).square().sum(-1)
    expected = -math.log(0.3) / (math.sqrt(2 * math.pi) * 0.1) * torch.exp(-q / 2) * (q <= 9)
    torch.testing.assert_close(density, expected, rtol=1e-3, atol=1e-4)
    assert expected.max() > 1
    torch.testing.assert_close(
        colour[density > 0.1], torch.tensor([0.2, 0.5, 0.8]).expand(int((density > 0.1).sum()), 3)
    )


def turned():
    """Gaussians of many shapes, some dead."""
    generator = torch.Generator().manual_seed(1)
    gaussians = Gaussians(GaussianConfig(count=20, most=30))
    with torch.no_grad():
        gaussians.log_scale.copy_(-2 + 0.4 * torch.randn(30, 3, generator=generator))
        for table in (gaussians.rotation, gaussians.raw_opacity):
            table.copy_(torch.randn(table.shape, generator=generator))
    return gaussians


def test_density_at_points_by_hand():
    gaussians, points = turned(), torch.rand(7, 3, generator=torch.Generator().manual_seed(2)) - 0.5
    expected = torch.zeros(7)
    for row in gaussians.living():
        inverse = torch.linalg.inv(gaussians.roots(row[None])[0])
        tau = -torch.log(1 - gaussians.raw_opacity[row].sigmoid())
        size = gaussians.log_scale[row].mean().exp()
        q = ((points - gaussians.place[row]) @ inverse.T).square().sum(-1)
        expected = expected + tau / (math.sqrt(2 * math.pi) * size) * torch.exp(-q / 2)
    assert float(expected.detach().max()) > 1
    torch.testing.assert_close(gaussians.density_at(points), expected, rtol=1e-3, atol=1e-3)


class Asked(torch.nn.Module):
    """A module whose output is the density."""

    def __init__(self, gaussians):
        super().__init__()
        self.of = gaussians

    def forward(self, points):
        return self.of.density_at(points)


def test_gradients_of_density():
    asked = Asked(turned().double())
    points = torch.rand(5, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 0.5
    names = ("place", "log_scale", "rotation", "raw_opacity")

    def density(*tables):
        given = {f"of.{name}": table for name, table in zip(names, tables, strict=True)}
        return torch.func.functional_call(asked, given, points)

    tables = [getattr(asked.of, name).detach().requires_grad_() for name in names]
    assert torch.autograd.gradcheck(density, tables)


def test_the_volume_looks_as_the_gaussians_do():
    gaussians = ball()
    volume, lights = volume_of(gaussians, 80), Lights(CAMERAS.position, torch.full((3,), 0.4))
    a, b = (s.photograph(CAMERAS, 32, background=torch.ones(3, 3, 1, 1)) for s in (gaussians, volume))
    assert (a.rgb - b.rgb).abs().mean() < 0.03
    assert (a.opacity - b.opacity).abs().mean() < 0.03
    inside = a.opacity[:, 0] > 0.9
    assert (a.depth - b.depth)[:, 0][inside].abs().mean() < 0.15
    assert volume.photograph(CAMERAS, 16, lights=lights, shading="shaded").rgb.max() > 0.5
    single = one(opacity=0.9)
    seen = [s.photograph(CAMERAS, 129).opacity[..., 64, 64] for s in (single, volume_of(single, 100))]
    torch.testing.assert_close(*seen, rtol=0.03, atol=0)


def test_a_mesh_or_a_field_goes_on_from_gaussians():
    gaussians, paint = ball(), VoxelConfig(resolution=24, shape="box")
    mesh = build_scene(MeshConfig(resolution=16, paint=paint, tuned="texture"), gaussians)
    assert isinstance(mesh, Mesh)
    points, _ = mesh.surface()
    assert 0.45 < points.norm(dim=-1).mean() < 0.72
    above, below = mesh.paint.at(torch.tensor([[0.0, 0, 0.45], [0, 0, -0.45]])).albedo()
    assert above[0] > 0.8 > 0.2 > above[2]
    assert below[2] > 0.8 > 0.2 > below[0]
    field = build_scene(VoxelConfig(resolution=32), gaussians)
    assert field.render(CAMERAS, 16).opacity.max() > 0.9
    assert solid(mesh, 16) is mesh
    with pytest.raises(ScoreliftError, match=r"paint: expected voxels, as .*, got 'a hash grid'"):
        build_scene(MeshConfig(resolution=16, paint=HashConfig()), gaussians)
