import math
from dataclasses import replace

import pytest
import torch

from scorelift.core.camera_samplers import RingSampler
from scorelift.core.cameras import Cameras
from scorelift.core.config import from_json, parts_of, to_json
from scorelift.core.errors import ScoreliftError
from scorelift.core.lights import Lights
from scorelift.core.schedules import Constant, Ramp
from scorelift.recipes import Stage
from scorelift.recipes.optimizers import AdamW
from scorelift.scenes import HashConfig, HashField, MLPConfig, Volume, build_scene
from scorelift.scenes.hashgrid import band_weights
from scorelift.scenes.mlp import Sky

SMALL = HashConfig(
    levels=4, features=2, log2_rows=9, coarsest=4, finest=32, width=16, coarse_samples=32, environment=False
)


def field(**changes) -> HashField:
    torch.manual_seed(2)
    return HashField(replace(SMALL, **changes))


def ring(count: int, dtype=torch.float32) -> Cameras:
    cameras = RingSampler(count=count).ring()
    values = (cameras.c2w, cameras.fovy_deg, cameras.elevation_deg, cameras.azimuth_deg)
    return Cameras(*(value.to(dtype) for value in values))


def test_the_papers_numbers():
    config = HashConfig()
    assert (config.levels, config.log2_rows, config.features, config.coarsest, config.finest) == (16, 19, 4, 16, 2048)
    assert (config.coarse_samples, config.fine_samples, config.extent) == (512, 0, 1.0)
    assert (config.blob, config.blob_radius) == (10.0, 0.5)
    scene = Volume(field(), Sky(8), SMALL.environment_rate)
    rates = [group["lr"] for group in scene.groups(1e-2)]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-3])  # grid, networks, background
    assert AdamW().rate == Constant(1e-2)


def test_the_density_it_begins_with():
    made = field(table_spread=0.0)
    density = made.at(torch.tensor([[0.0, 0, 0], [0.25, 0, 0], [0, 0.5, 0], [0, 0, 1.0], [0.8, 0.8, 0]])).density()
    expected = [math.log1p(math.exp(raw)) for raw in (10.0, 5.0, 0.0, -10.0)]
    torch.testing.assert_close(density.detach(), torch.tensor([*expected, 0.0]), rtol=1e-4, atol=1e-7)


def test_a_scene_seen_from_inside():
    made = field(table_spread=0.0, blob=-10.0, blob_radius=0.8)
    density = made.at(torch.tensor([[0.0, 0, 0], [0.95, 0, 0]])).density()
    assert float(density[0].detach()) < 1e-4 < 1 < float(density[1].detach())


def test_features_by_hand():
    """One vertex of the coarsest level has a feature; the networks add it up."""
    made = field(table_spread=0.0, blob=0.0)
    with torch.no_grad():
        made.table[0] = torch.tensor([3.0, 0.0])  # vertex (-1, -1, -1) of 4 cells an edge
        for net in (made.density, made.albedo):
            net[0].weight.fill_(1.0)
            net[2].weight.fill_(0.5)
    raw = made.raw(torch.tensor([[-1.0, -1, -1], [-0.75, -1, -1], [-0.75, -0.75, -1], [0, 0, 0]]))[:, 0]
    torch.testing.assert_close(raw.detach(), 3.0 * 16 * 0.5 * torch.tensor([1, 0.5, 0.25, 0]))


def test_features_scale_with_the_extent():
    xyz = torch.rand(9, 3) * 2 - 1
    wide, unit = field(extent=5.0, table_spread=1.0), field(table_spread=1.0)
    torch.testing.assert_close(wide.features(5 * xyz), unit.features(xyz))


def test_bands():
    assert band_weights(4.0, 4) == [1.0] * 4
    assert band_weights(2.25, 4) == pytest.approx([1, 1, (1 - math.cos(math.pi / 4)) / 2, 0])
    made = field(bands=Ramp(0.25, 1.0, until=0.5))
    xyz = torch.rand(9, 3) - 0.5
    assert bool((made.features(xyz) != 0).all())  # a field that is not being optimized is whole
    made.update(0, 0.0)
    seen = made.features(xyz)
    assert bool((seen[:, :2] != 0).all())
    assert float(seen[:, 2:].detach().abs().max()) == 0
    made.update(1, 0.25)
    assert made.window.tolist() == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0, 0])
    made.update(2, 0.5)
    assert bool((made.window == 1).all())
    assert "window" not in made.state_dict()


@pytest.mark.parametrize("kind", ["analytic", "differences"])
def test_normals_point_down_the_density(kind):
    made = field(normals=kind, difference=1e-4, table_spread=0.1).double()
    xyz = torch.rand(40, 3, dtype=torch.float64) - 0.5
    normal = made.at(xyz).normal()
    assert normal.requires_grad
    step = 1e-5 * normal.detach()
    with torch.no_grad():
        assert bool((made.at(xyz - step).density() > made.at(xyz + step).density()).all())
        torch.testing.assert_close(made.at(xyz).normal(), normal.detach())


@pytest.mark.parametrize("kind", ["analytic", "differences"])
def test_gradients_reach_every_parameter_through_shading(kind):
    made = field(normals=kind, table_spread=0.3).double()
    camera = ring(2, torch.float64)
    lights = Lights(camera.position * 0.5, torch.full((2,), 0.1, dtype=torch.float64))
    scene = Volume(made, Sky(8).double(), SMALL.environment_rate)
    weight = torch.randn(2, 3, 4, 4, dtype=torch.float64)

    def loss():
        return (scene.render(camera, 4, lights=lights, shading="shaded").rgb * weight).sum()

    loss().backward()
    held = {id(p) for group in scene.groups(1.0) for p in group["params"]}
    assert held == {id(p) for p in scene.parameters()}
    for name, parameter in scene.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name
        k = int(parameter.grad.abs().argmax())
        flat, step, values = parameter.data.view(-1), 1e-6, []
        kept = float(flat[k])
        for sign in (1, -1):
            flat[k] = kept + sign * step
            values.append(float(loss().detach()))
        flat[k] = kept
        measured = (values[0] - values[1]) / (2 * step)
        assert measured == pytest.approx(float(parameter.grad.view(-1)[k]), rel=1e-3), name


def test_a_fit_to_a_known_density(generator):
    """A ball of density 20, half red and half blue, learned from its values."""
    made = field(log2_rows=12, finest=16, blob=0.0)
    optimizer = AdamW().build(made.groups(1e-2))

    def truth(xyz):
        inside = ((0.6 - xyz.norm(dim=-1)) * 20).clamp(-4, 4).sigmoid()
        red = (xyz[:, :1] > 0).float()
        return 20 * inside, torch.cat([red, torch.zeros_like(red), 1 - red], -1)

    for step in range(300):
        lookup = made.at(xyz := torch.rand(2048, 3, generator=generator) * 1.6 - 0.8)
        density, albedo = truth(xyz)
        loss = ((lookup.density() - density) / 20).square().mean() + (lookup.albedo() - albedo).square().mean()
        first = float(loss.detach()) if step == 0 else first
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.03 < 0.1 < first


def test_continues_from_its_state_and_from_a_scene_of_its_kind():
    config = replace(SMALL, environment=True, occupancy=8)
    first = build_scene(config)
    with torch.no_grad():
        first.field.table.normal_()
        first.field.occupancy.occupied[2] = False
    second = build_scene(config, first)
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in first.state_dict().items())
    with pytest.raises(
        ScoreliftError, match=r"scene.log2_rows: expected \d+, as in the scene to start from, got 10\. Set --"
    ):
        build_scene(replace(config, log2_rows=10), first)
    with pytest.raises(
        ScoreliftError, match=r"scene: expected a hash grid, as in the scene to start from, got 'a network'"
    ):
        build_scene(MLPConfig(), first)


def test_a_grid_of_a_small_field_looks_the_same():
    scene = build_scene(replace(SMALL, blob=60.0, coarse_samples=96, table_spread=0.1))
    backdrop = torch.full((2, 3, 1, 1), 0.5)
    with torch.no_grad():
        render, grid = (each.render(ring(2), 24, background=backdrop) for each in (scene, scene.gridded(96)))
    assert 0.05 < float(render.opacity.mean()) < 0.9
    torch.testing.assert_close(grid.rgb, render.rgb, atol=0.03, rtol=0)
    fine = build_scene(replace(SMALL, coarse_samples=512))
    assert fine.gridded() is fine  # a grid would lose what it holds


def test_empty_cells_are_skipped():
    """A cell is empty when the whole of it stops little light, however short the steps."""
    made = field(occupancy=16, blob=30.0, coarse_samples=400)
    scene, backdrop = Volume(made), torch.full((1, 3, 1, 1), 0.3)
    with torch.no_grad():
        whole = scene.render(ring(1), 12, background=backdrop)
        scene.update(0, 0.0)
        assert 0 < float(made.occupancy.occupied.float().mean()) < 0.6
        skipped = scene.render(ring(1), 12, background=backdrop)
    assert float((whole.rgb - skipped.rgb).abs().max()) < 0.03


def test_a_stage_with_it_can_be_written_down():
    stage = Stage(steps=3, scene=replace(SMALL, bands=Ramp(0.25, 1.0, until=0.5)), optimizer=AdamW())
    assert from_json(to_json(stage), parts_of(Stage)) == stage


@pytest.mark.parametrize("bad", [{"levels": 0}, {"finest": 2}, {"blob_radius": 0.0}, {"table_spread": -1.0}])
def test_settings_that_make_no_sense(bad):
    with pytest.raises(ScoreliftError, match=next(iter(bad))):
        replace(SMALL, **bad)
