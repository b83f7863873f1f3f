import math

import pytest
import torch

from scorelift.core.camera_samplers import DreamFusionCameras, HemisphereSampler, OrbitSampler, RingSampler
from scorelift.core.cameras import direction
from scorelift.core.errors import ScoreliftError
from scorelift.core.samplers import BackdropSampler, DreamFusionLights, LightSampler, ShadingSampler

N = 10_000


def test_orbit_statistics(generator):
    cameras = OrbitSampler(even=False).draw(N, generator)
    high = cameras.elevation_deg > 50
    assert float(high.float().mean()) == pytest.approx(0.28, abs=0.02)
    assert float(cameras.elevation_deg.min()) >= -10
    assert float(cameras.elevation_deg.max()) <= 88
    assert float(cameras.elevation_deg[~high].mean()) == pytest.approx(20, abs=0.6)
    counts = torch.histc(cameras.azimuth_deg, 8, 0, 360) / N
    assert float((counts - 1 / 8).abs().max()) < 0.015


def test_several_views_surround_the_object(generator):
    azimuth = OrbitSampler().draw(4, generator).azimuth_deg.sort().values
    gaps = torch.cat([azimuth[1:] - azimuth[:-1], azimuth[:1] + 360 - azimuth[-1:]])
    assert float(gaps.min()) > 0
    assert float(gaps.max()) < 270
    many = torch.stack([OrbitSampler().draw(4, generator).azimuth_deg for _ in range(2500)]).flatten()
    assert float((torch.histc(many, 8, 0, 360) / len(many) - 1 / 8).abs().max()) < 0.015


def test_lights_are_on_the_cameras_side(generator):
    cameras = OrbitSampler(even=False).draw(N, generator)
    lights = LightSampler().draw(cameras, generator)
    side = torch.nn.functional.cosine_similarity(lights.position, cameras.position)
    assert float((side > 0).float().mean()) > 0.9
    torch.testing.assert_close(lights.position.norm(dim=-1), torch.full((N,), 3.0))
    assert 0.4 <= float(lights.ambient.min()) <= float(lights.ambient.max()) <= 0.8


def test_shading_shares(generator):
    sampler = ShadingSampler(albedo_until=0.1, shaded=0.75, textureless=0.5)
    assert {sampler.draw(0.05, generator) for _ in range(100)} == {"albedo"}
    drawn = [sampler.draw(0.5, generator) for _ in range(4000)]
    assert drawn.count("albedo") / 4000 == pytest.approx(0.25, abs=0.03)
    assert drawn.count("textureless") / 4000 == pytest.approx(0.375, abs=0.03)


def test_ring_draws_its_own_cameras_without_repeats(generator):
    sampler = RingSampler(count=6)
    drawn = sampler.draw(6, generator).azimuth_deg.sort().values
    torch.testing.assert_close(drawn, sampler.ring().azimuth_deg)


@pytest.mark.parametrize("sampler", [OrbitSampler, DreamFusionCameras, HemisphereSampler])
def test_groups_are_one_camera_turned(sampler, generator):
    """Three groups of four: everything of the first, jitter too, a quarter turn further each time."""
    cameras = sampler(group=4).draw(12, generator)
    first = sampler().draw(3, torch.Generator().manual_seed(0))
    quarter = torch.tensor([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    for group in range(3):
        c2w = first.c2w[group]
        for view in range(4):
            one = 4 * group + view
            torch.testing.assert_close(cameras.c2w[one], c2w, atol=1e-5, rtol=0)
            turned = (first.azimuth_deg[group] + 90 * view) % 360
            torch.testing.assert_close(cameras.azimuth_deg[one], turned)
            assert cameras.elevation_deg[one] == first.elevation_deg[group]
            assert cameras.fovy_deg[one] == first.fovy_deg[group]
            c2w = quarter @ c2w


def test_groups_divide_the_views(generator):
    for n, group in ((6, 4), (4, 0), (1, 4)):
        with pytest.raises(
            ScoreliftError, match=rf"cameras\.group: expected a number that divides the stage's {n} views"
        ):
            OrbitSampler(group=group).draw(n, generator)


def test_backdrops_plain_and_graded(generator):
    plain = BackdropSampler(gradient=0).draw(50, 8, generator)
    assert float(plain.flatten(2).std(-1).max()) == pytest.approx(0, abs=1e-6)
    graded = BackdropSampler(gradient=1).draw(50, 8, generator)
    assert float((graded.flatten(2).std(-1).amax(-1) > 1e-3).float().mean()) > 0.95
    assert 0 <= float(graded.min()) <= float(graded.max()) <= 1


@pytest.mark.parametrize(
    "bad", [{"elevation_deg": (50, -10)}, {"distance": (0.1, 2)}, {"high_share": 1.5}, {"fill": (0, 1)}]
)
def test_bad_ranges_are_named(bad):
    with pytest.raises(ScoreliftError, match=next(iter(bad))):
        OrbitSampler(**bad)


def test_dreamfusions_cameras_as_stated(generator):
    """Section 3.2 and Appendix A.2, over 10,000 draws."""
    cameras = DreamFusionCameras().draw(N, generator)
    elevation, position = cameras.elevation_deg, cameras.position
    assert float((elevation >= 0).float().mean()) == pytest.approx(
        0.5 * 0.9 + 0.5, abs=0.015
    )  # -10..0 only from the uniform-in-angle half
    # P(elevation > 60): half of 30/100 by angle, half of 1 - sin 60 by area.
    over = 0.5 * 0.3 + 0.5 * (1 - math.sin(math.radians(60)))
    assert float((elevation > 60).float().mean()) == pytest.approx(over, abs=0.015)
    counts = torch.histc(cameras.azimuth_deg, 8, 0, 360) / N
    assert float((counts - 1 / 8).abs().max()) < 0.015
    offset = position - direction(elevation, cameras.azimuth_deg) * 1.25
    assert 0.9 - 0.1 < float(position.norm(dim=-1).min()) < float(position.norm(dim=-1).max()) < 1.5 + 0.18
    assert float(offset.mean(0).abs().max()) < 0.02
    focal = 0.5 / torch.tan(torch.deg2rad(cameras.fovy_deg) / 2)
    assert float(focal.min()) >= 0.7 - 1e-4
    assert float(focal.max()) <= 1.35 + 1e-4
    assert float(focal.mean()) == pytest.approx((0.7 + 1.35) / 2, abs=0.01)
    # The look-at point lies on the optical axis, 0.2 (a coordinate) from the origin: its distance across the axis is
    # a Rayleigh variable of that scale, mean 0.2 sqrt(pi / 2).
    ahead = -cameras.c2w[:, :3, 2]
    across = (position - (position * ahead).sum(-1, keepdim=True) * ahead).norm(dim=-1)
    assert float(across.mean()) == pytest.approx(0.2 * math.sqrt(math.pi / 2), rel=0.12)


def test_dreamfusions_lights_as_stated(generator):
    cameras = DreamFusionCameras().draw(N, generator)
    lights = DreamFusionLights().draw(cameras, generator)
    norm = lights.position.norm(dim=-1)
    assert 0.8 <= float(norm.min()) < float(norm.max()) <= 1.5
    assert float(norm.mean()) == pytest.approx(1.15, abs=0.01)
    side = torch.nn.functional.cosine_similarity(lights.position, cameras.position)
    assert float((side > 0).float().mean()) > 0.8  # "usually ends up on the same side"
    torch.testing.assert_close(lights.ambient, torch.full((N,), 0.1))


def test_hemisphere_statistics(generator):
    """Even over the upper half sphere: height and azimuth are uniform."""
    cameras = HemisphereSampler().draw(N, generator)
    position = cameras.position
    torch.testing.assert_close(position.norm(dim=-1), torch.full((N,), 1.5), atol=1e-4, rtol=0)
    assert float((torch.histc(position[:, 2] / 1.5, 8, 0, 1) / N - 1 / 8).abs().max()) < 0.015
    assert float((torch.histc(cameras.azimuth_deg, 8, 0, 360) / N - 1 / 8).abs().max()) < 0.015
    assert (float(cameras.fovy_deg.min()), float(cameras.fovy_deg.max())) == pytest.approx((40, 70), abs=0.1)
    assert float(cameras.fovy_deg.mean()) == pytest.approx(55, abs=0.3)
    _, forward = cameras.rays(1, 1)
    torch.testing.assert_close(forward[:, 0, 0], -position / 1.5, atol=1e-4, rtol=0)
