"""The compiled passes against the plain reference, values and gradients."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from scorelift.core.camera_samplers import RingSampler
from scorelift.core.cameras import orbit
from scorelift.core.errors import ScoreliftError
from scorelift.kernels import voxel_integral as kernel
from scorelift.kernels import voxel_unlit as unlit
from scorelift.kernels.composite import sum_packed, weights_packed
from scorelift.scenes import Field, VoxelConfig, VoxelField
from scorelift.scenes.fields import Rays, Sums, ball_span

SIZE = 12


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def field(resolution=14, lower=0.0, **changes) -> VoxelField:
    torch.manual_seed(2)
    made = VoxelField(VoxelConfig(resolution=resolution, **changes))
    with torch.no_grad():
        made.albedo.normal_(0, 2)
        made.density.add_(0.7 * torch.randn_like(made.density) - lower)
    return made


def rays(distance: float | None = None) -> Rays:
    """Of two cameras of a ring; with a distance, toward a corner of the box and toward its front."""
    cameras = RingSampler(count=5).ring()[torch.arange(2)]
    if distance is not None:
        wide = torch.full((2,), 70.0)
        cameras = orbit(torch.tensor([35.0, 10.0]), torch.tensor([45.0, 0.0]), torch.full((2,), distance), wide)
    origin, direction = cameras.rays(SIZE, SIZE)
    count = 2 * SIZE * SIZE
    torch.manual_seed(3)
    return Rays(
        origin.repeat_interleave(SIZE * SIZE, 0),
        direction.reshape(-1, 3),
        torch.rand(count),
        (cameras.position + 0.4).repeat_interleave(SIZE * SIZE, 0),
        torch.full((count,), 0.3),
    )


def as_row(sums: Sums) -> torch.Tensor:
    values = [getattr(sums, spec.name) for spec in fields(sums)]
    return torch.cat([v.reshape(len(sums.opacity), -1) for v in values if v is not None], -1)


def both(made: VoxelField, shading: str):
    """Sums and gradients of the reference and of the compiled form."""
    found = []
    for form in (Field.integrate, VoxelField.integrate):
        made.zero_grad()
        row = as_row(form(made, rays(), shading))
        pull = torch.randn(row.shape, generator=torch.Generator().manual_seed(5))
        row.backward(pull)
        found.append((row.detach(), made.density.grad.clone(), made.albedo.grad))
    return found


@pytest.mark.parametrize("shading", ["albedo", "shaded", "textureless"])
@pytest.mark.parametrize("kind", ["dense", "pruned", "half steps"])
def test_agrees_with_the_reference(shading, kind, threads):
    made = field(lower=6.0 if kind == "pruned" else 0.0, step=0.5 if kind == "half steps" else 1.0)
    if kind == "pruned":
        made.update(0, 0.5)
        assert 0.05 < float(made.occupied.float().mean()) < 0.95
    (sums, density, albedo), (sums_, density_, albedo_) = both(made, shading)
    torch.testing.assert_close(sums_, sums, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(density_, density, atol=1e-4 * float(density.abs().max()), rtol=1e-3)
    if shading == "textureless":
        assert albedo is albedo_ is None  # an optimizer leaves alone what was not seen
    else:
        torch.testing.assert_close(albedo_, albedo, atol=1e-4 * float(albedo.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("shading", ["albedo", "shaded", "textureless"])
@pytest.mark.parametrize("distance", [1.5, 2.5])  # within a corner of the box, and outside
def test_a_box_with_a_learned_gain_and_a_shift_agrees_with_the_reference(shading, distance):
    made = field(shape="box", learned_gain=True, density_shift=-1.0, density_scale=2.0, step=0.5)
    with torch.no_grad():
        made.log_gain.fill_(0.3)
    found, gains = [], []
    for form in (Field.integrate, VoxelField.integrate):
        made.zero_grad()
        row = as_row(form(made, rays(distance), shading))
        row.backward(torch.randn(row.shape, generator=torch.Generator().manual_seed(5)))
        found.append((row.detach(), made.density.grad.clone(), made.albedo.grad))
        gains.append(made.log_gain.grad.clone())
    (sums, density, albedo), (sums_, density_, albedo_) = found
    torch.testing.assert_close(sums_, sums, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(density_, density, atol=1e-4 * float(density.abs().max()), rtol=1e-3)
    torch.testing.assert_close(gains[1], gains[0], atol=1e-4 * float(gains[0].abs()), rtol=1e-3)
    if albedo is not None:
        torch.testing.assert_close(albedo_, albedo, atol=1e-4 * float(albedo.abs().max()), rtol=1e-3)
    assert float(density[[0, 0, -1, -1], [0, -1, 0, -1]].abs().max()) > 0  # edges of the box, which a ball has not


@torch.no_grad()
def test_pictures_of_normals_agree_with_the_reference():
    made = field()
    torch.testing.assert_close(
        as_row(made.integrate(rays(), "normal")), as_row(Field.integrate(made, rays(), "normal")), atol=2e-5, rtol=1e-4
    )


def test_latent_features_are_not_squashed():
    """Five channels without a sigmoid, against interpolation and weights of the reference."""
    made = field()
    latent = torch.randn(14, 14, 14, 5, requires_grad=True)
    seen = rays()
    near, far = ball_span(seen.origin, seen.direction, 1.0)
    paths = unlit.Paths(*(t.numpy() for t in (seen.origin, seen.direction, seen.jitter, near, far)))
    settings = unlit.Settings(np.float32(made.delta), np.float32(made.config.density_scale), False)
    sums = unlit.integrate(made.density, latent, made.occupied, paths, settings)
    march = made.march(seen.origin, seen.direction, seen.jitter)
    weight, _ = weights_packed(march.lookup.density(), march.delta, march.ray, len(near))
    from scorelift.kernels.trilinear import trilinear_reference

    expected = sum_packed(weight[:, None] * trilinear_reference(latent, march.xyz), march.ray, len(near))
    torch.testing.assert_close(sums[:, :5], expected, atol=1e-4, rtol=1e-4)
    pull = torch.randn(expected.shape)
    wanted = torch.autograd.grad(expected, (latent, made.density), pull)
    got = torch.autograd.grad(sums[:, :5], (latent, made.density), pull)
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * float(b.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("raw", [-60.0, -20.0, -9.01, -8.99, 0.0, 14.9, 15.1, 60.0, 300.0])
def test_light_stopped_by_any_density(raw):
    """Where exp stands in for softplus, and a parabola for 1 - exp: no step, no overflow."""
    with torch.no_grad():
        made = field()
        made.density.fill_(raw)
    (sums, density, _), (sums_, density_, _) = both(made, "albedo")
    torch.testing.assert_close(sums_, sums, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(density_, density, atol=1e-4 * float(density.abs().max()) + 1e-12, rtol=2e-3)


def test_more_features_than_a_record_holds_are_refused():
    made, rows = field(), torch.zeros(0)
    paths = kernel.Paths(*(rows.numpy() for _ in range(7)))
    with pytest.raises(ScoreliftError, match=r"features: expected at most 4 channels, got 5"):
        kernel.integrate(
            made.density, torch.zeros(14, 14, 14, 5), made.occupied, paths, delta=0.1, scale=1.0, textureless=False
        )


def test_lit_rays_need_lights():
    seen = rays()
    with pytest.raises(ScoreliftError, match="lights: expected lights for 'shaded' shading"):
        field().integrate(Rays(seen.origin, seen.direction, seen.jitter), "shaded")


def test_a_ray_without_gradient_costs_nothing_and_adds_nothing():
    made = field()
    row = as_row(made.integrate(rays(), "albedo"))
    row.backward(torch.zeros_like(row))
    assert float(made.density.grad.abs().max()) == 0


def test_what_is_not_finite_comes_out_as_such():
    made = field()
    with torch.no_grad():
        made.density[7, 7, 7] = float("nan")
    sums = made.integrate(rays(), "shaded")
    sums.colour.sum().backward()
    assert not bool(torch.isfinite(sums.colour).all())
    assert not bool(torch.isfinite(made.density.grad).all())


def test_the_same_threads_give_the_same_bits(threads):
    first, second = both(field(), "shaded")[1], both(field(), "shaded")[1]
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert np.isfinite(first[0].numpy()).all()
