"""Mesh scenes: what they show, what moves them, how they come from volumes."""

import dataclasses
import math

import pytest
import torch
import trimesh

from scorelift.core.camera_samplers import ring
from scorelift.core.errors import EmptySceneError, ScoreliftError
from scorelift.core.lights import Lights
from scorelift.core.schedules import Ramp
from scorelift.export.surface import extract_surface
from scorelift.export.texture import bake, colour_of
from scorelift.kernels.marching_tetrahedra import marching_tetrahedra
from scorelift.scenes import CanvasConfig, HashConfig, MeshConfig, VoxelConfig, build_scene
from scorelift.scenes.losses import bending_loss, emptiness_loss, unevenness_loss

PAINT = HashConfig(levels=4, features=2, log2_rows=10, coarsest=4, finest=16, width=8, environment=False)
BALL = MeshConfig(resolution=20, paint=PAINT)
SIZE = 48


def looked_at(mesh, shading="albedo", views=2):
    cameras = ring(views, elevation_deg=20.0)
    lights = Lights(cameras.position + torch.tensor([0.0, 1.0, 2.0]), torch.full((views,), 0.3))
    return cameras, lights, mesh.render(cameras, SIZE, lights=lights, shading=shading)


def test_a_ball_is_round_and_where_it_should_be():
    mesh = build_scene(BALL)
    cameras, _, render = looked_at(mesh)
    half = math.tan(math.radians(float(cameras.fovy_deg[0])) / 2)
    disc = math.pi * (SIZE / 2 / half * math.tan(math.asin(0.5 / 3))) ** 2
    assert render.opacity.sum((1, 2, 3)).tolist() == pytest.approx([disc, disc], rel=0.02)
    middle = render.depth[:, 0, SIZE // 2, SIZE // 2]
    assert middle.tolist() == pytest.approx([2.5, 2.5], abs=0.01)
    assert not render.depth[:, :, 0, 0].any()
    toward = torch.nn.functional.normalize(cameras.position, dim=-1)
    assert torch.allclose(render.normal[:, :, SIZE // 2, SIZE // 2], toward, atol=0.05)


def test_light_falls_as_the_point_light_says():
    mesh = build_scene(BALL)
    cameras, lights, bare = looked_at(mesh, "textureless")
    origin, direction = cameras.rays(SIZE, SIZE)
    i, j = SIZE // 2 - 5, SIZE // 2 + 4
    xyz = origin[0] + bare.depth[0, 0, i, j].detach() * direction[0, i, j]
    normal = torch.nn.functional.normalize(xyz, dim=-1)
    shade = float(lights.shade(xyz[None, None].expand(2, 1, 3), normal[None, None].expand(2, 1, 3))[0, 0])
    assert bare.rgb[0, :, i, j].tolist() == pytest.approx([shade] * 3, abs=0.03)
    plain, lit = looked_at(mesh)[2].rgb, looked_at(mesh, "shaded")[2].rgb
    assert torch.allclose(lit[0, :, i, j], plain[0, :, i, j] * bare.rgb[0, :, i, j], atol=1e-6)
    normals = looked_at(mesh, "normal")[2]
    assert torch.allclose(normals.rgb, (normals.normal + normals.opacity) / 2, atol=1e-5)
    with pytest.raises(ScoreliftError, match="lights"):
        mesh.render(cameras, SIZE, shading="shaded")


def test_the_background_shows_where_the_mesh_does_not():
    mesh = build_scene(dataclasses.replace(BALL, tuned="both", paint=dataclasses.replace(PAINT, environment=True)))
    cameras = ring(1)
    red = torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)
    assert torch.equal(mesh.render(cameras, SIZE, background=red).rgb[0, :, 0, 0], torch.tensor([1.0, 0, 0]))
    mesh.render(cameras, SIZE).rgb[0, :, 0, 0].sum().backward()
    assert all(p.grad is not None for p in mesh.environment.parameters())


@pytest.mark.parametrize("tuned", ["geometry", "texture", "both"])
def test_what_is_tuned_learns_and_nothing_else(tuned):
    mesh = build_scene(dataclasses.replace(BALL, tuned=tuned, paint=dataclasses.replace(PAINT, environment=True)))
    looked_at(mesh, "shaded")[2].rgb.square().mean().backward()
    moved = {name.split(".")[0] for name, p in mesh.named_parameters() if p.grad is not None and p.grad.any()}
    shape, colours = {"distance", "offset"}, {"paint", "environment"}
    assert moved == {"geometry": shape, "texture": colours, "both": shape | colours}[tuned]
    grouped = {id(p) for group in mesh.groups(1.0) for p in group["params"]}
    assert grouped == {id(p) for p in mesh.parameters() if p.requires_grad}


@pytest.mark.parametrize("shading", ["albedo", "shaded"])
def test_colours_do_not_move_the_surface(shading):
    mesh = build_scene(dataclasses.replace(BALL, tuned="both", paint=dataclasses.replace(PAINT, table_spread=1.0)))
    camera = ring(1)
    lights = Lights(camera.position, torch.ones(1))  # light that is the same everywhere
    rgb = mesh.render(camera, SIZE, lights=lights, shading=shading).rgb[..., 21:27, 21:27]  # inside its outline
    rgb.square().sum().backward()
    assert not mesh.distance.grad.any()
    assert mesh.paint.table.grad.any()


def test_a_mesh_is_painted_in_all_bands_from_the_first_step_on():
    mesh = build_scene(dataclasses.replace(BALL, paint=dataclasses.replace(PAINT, bands=Ramp(0.0, 1.0))))
    mesh.update(0, 0.0)
    assert bool((mesh.paint.window == 1).all())


def test_gradients_are_those_of_finite_differences():
    mesh = build_scene(dataclasses.replace(BALL, resolution=6)).double()
    cameras = ring(1)
    cameras = dataclasses.replace(cameras, c2w=cameras.c2w.double(), fovy_deg=cameras.fovy_deg.double())
    near = (mesh.distance.abs() < 0.2).nonzero()[::7, 0]
    weight = torch.rand(1, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def value(change):
        moved = mesh.distance.index_add(0, near, change)
        return (torch.func.functional_call(mesh, {"distance": moved}, (cameras,)) * weight).sum()

    mesh.forward = lambda cameras: mesh.render(cameras, 16, shading="normal").rgb
    start = torch.full((len(near),), 1e-3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(value, (start,), eps=1e-7, atol=2e-3, rtol=2e-2)


def test_it_takes_a_target_shape():
    wanted = build_scene(dataclasses.replace(BALL, resolution=16))
    wanted.distance.data = (wanted.lattice / torch.tensor([0.7, 0.45, 0.5])).norm(dim=-1) * 0.5 - 0.5
    mesh = build_scene(dataclasses.replace(BALL, resolution=16))
    cameras = ring(4)
    with torch.no_grad():
        target = wanted.render(cameras, 32, shading="normal").rgb
    optimizer, gaps = torch.optim.Adam(mesh.groups(0.01), betas=(0.9, 0.99)), []
    for _ in range(40):
        gap = (mesh.render(cameras, 32, shading="normal").rgb - target).square().mean()
        optimizer.zero_grad()
        gap.backward()
        optimizer.step()
        gaps.append(float(gap.detach()))
    assert gaps[-1] < 0.1 * gaps[0]


def test_a_volume_becomes_a_mesh_of_its_shape_and_colours():
    config = VoxelConfig(resolution=40, blob_radius=0.6, density_scale=60.0)
    volume = build_scene(config)
    volume.field.albedo.data[20:] = 3.0
    mesh = build_scene(MeshConfig(resolution=32, paint=config), volume)
    with torch.no_grad():
        before, after = looked_at(volume)[2], looked_at(mesh)[2]
    both = torch.minimum(before.opacity, after.opacity).sum() / torch.maximum(before.opacity, after.opacity).sum()
    assert float(both.detach()) > 0.93
    inner = (before.opacity > 0.99) & (after.opacity > 0.99)
    assert float(((before.rgb - after.rgb).abs() * inner).sum() / inner.sum() / 3) < 0.05
    surface = extract_surface(mesh, resolution=32, faces=3000)
    asset = bake(colour_of(mesh), surface, 128)
    assert len(asset.faces) <= 3100
    bright = asset.albedo.reshape(-1, 3).mean(0)
    assert 150 < bright[0] < 230  # half of it grey, half nearly white


def test_a_mesh_goes_on_from_a_mesh():
    first = build_scene(BALL)
    first.distance.data -= 0.1
    first.paint.table.data += 0.5
    again = build_scene(dataclasses.replace(BALL, tuned="texture"), first)
    assert torch.equal(again.distance, first.distance)
    assert torch.equal(again.paint.table, first.paint.table)
    fresh = build_scene(BALL)
    fresh.load_state_dict(first.state_dict())
    assert torch.equal(looked_at(fresh)[2].rgb, looked_at(first)[2].rgb)
    assert not any(name in first.state_dict() for name in ("lattice", "tetrahedra", "rim"))
    with pytest.raises(ScoreliftError, match=r"scene\.resolution: expected 20, .*, got 24"):
        build_scene(dataclasses.replace(BALL, resolution=24), first)


def test_a_frozen_surface_is_marched_once_and_again_when_it_changes():
    mesh = build_scene(dataclasses.replace(BALL, tuned="texture"))
    points, _ = mesh.surface()
    assert mesh.surface()[0] is points
    with torch.no_grad():
        mesh.distance.sub_(0.1)
    assert float(mesh.surface()[0].norm(dim=-1).mean()) == pytest.approx(0.6, abs=0.01)
    learning = build_scene(BALL)
    with torch.no_grad():
        learning.surface()  # a look on the way
    assert learning.surface()[0].requires_grad


def test_marching_the_band_gives_the_whole_surface(generator):
    """Whatever happens to the distances: small moves, a hole far from the surface, a jump, steep distances."""
    mesh = build_scene(dataclasses.replace(BALL, tuned="texture"))

    def same():
        points, faces = mesh.surface()
        distance = torch.where(mesh.rim, mesh.distance.abs().clamp_min(1e-3), mesh.distance)
        places = mesh.lattice + 2 / 20 * 0.5 * mesh.offset.tanh()
        assert len(mesh._near(distance < 0)) < 0.7 * len(mesh.tetrahedra)
        return all(map(torch.equal, (points, faces), marching_tetrahedra(places, distance, mesh.tetrahedra)))

    assert same()
    with torch.no_grad():
        for _ in range(3):
            mesh.distance += 0.03 * torch.randn(mesh.distance.shape, generator=generator)
            mesh.offset += 0.3 * torch.randn(mesh.offset.shape, generator=generator)
            assert same()
        mesh.distance[mesh.lattice.norm(dim=-1) < 0.12] = 0.2
        assert same()
        mesh.distance -= 0.15
        assert same()
        mesh.distance *= 30
        assert same()


def test_what_cannot_be_a_mesh_is_refused():
    with pytest.raises(ScoreliftError, match="a volume or a mesh to start from, got 'flat pictures'"):
        build_scene(BALL, build_scene(CanvasConfig()))
    empty = build_scene(VoxelConfig(resolution=16, blob_sharpness=0.0, density_scale=1e-3))
    with pytest.raises(EmptySceneError, match="empty"):
        build_scene(MeshConfig(resolution=16, paint=VoxelConfig(resolution=16)), empty)
    with pytest.raises(ScoreliftError, match="hash grid"):
        build_scene(BALL, build_scene(VoxelConfig(resolution=24, blob_radius=0.6)))
    gone = build_scene(BALL)
    gone.distance.data.fill_(1.0)
    with pytest.raises(EmptySceneError, match="no surface is left"):
        gone.surface()
    with pytest.raises(ScoreliftError, match="flow"):
        MeshConfig(flow=0.0)


def test_a_surface_that_would_leave_the_lattice_is_closed_at_its_rim():
    mesh = build_scene(BALL)
    mesh.distance.data.fill_(-1.0)
    surface = extract_surface(mesh, resolution=0, faces=100_000)
    assert surface.vertices.max() <= 1
    assert trimesh.Trimesh(surface.vertices, surface.faces).is_watertight


def test_penalties_of_meshes():
    mesh = build_scene(BALL)
    render = looked_at(mesh)[2]
    smooth = bending_loss(render), unevenness_loss(render)
    mesh.offset.data.normal_()
    rough = looked_at(mesh)[2]
    assert bending_loss(rough) > 2 * smooth[0]
    assert unevenness_loss(rough) > smooth[1]
    with pytest.raises(ScoreliftError, match="emptiness"):
        emptiness_loss(render)
    with pytest.raises(ScoreliftError, match="bending: this scene is no mesh"):
        bending_loss(looked_at(build_scene(VoxelConfig(resolution=8)))[2])
