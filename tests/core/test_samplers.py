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
    many = torch.stack([OrbitSampler().draw(4, generator).azimuth_deg for _ in range(1000)]).flatten()
    assert float((torch.histc(many, 8, 0, 360) / len(many) - 1 / 8).abs().max()) < 0.02


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
    with pytest.raises(ScoreliftError, match="group: expected at least 1, got 0"):
        OrbitSampler(group=0)
    for n, group in ((6, 4), (1, 4)):
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


def check_share(found, share):
    """Of N draws, within four standard errors."""
    assert float(found.float().mean()) == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / N))


def check_uniform(values, low, high):
    """None outside the span, and an eighth of them in each eighth of it."""
    assert low - 1e-4 <= float(values.min()) <= float(values.max()) <= high + 1e-4
    for i in range(8):
        check_share((((values - low) / (high - low) * 8).floor().clamp(0, 7)) == i, 1 / 8)


def moments(values):
    """Mean, standard deviation and kurtosis."""
    centred = values - values.mean()
    return float(values.mean()), float(values.std()), float((centred**4).mean() / (centred**2).mean() ** 2)


def across(vector):
    """Two unit vectors across each vector: level, toward growing azimuth, and the other one."""
    up = torch.tensor([0.0, 0.0, 1.0]).expand_as(vector)
    level = torch.nn.functional.normalize(torch.linalg.cross(up, vector, dim=-1), dim=-1)
    return level, torch.nn.functional.normalize(torch.linalg.cross(vector, level, dim=-1), dim=-1)


def dot(a, b):
    return (a * b).sum(-1)


def test_dreamfusions_cameras_stand_as_stated(generator):
    """Section 3.2 and Appendix A.2, over 10,000 draws: the sphere, the offset and the zoom."""
    cameras = DreamFusionCameras().draw(N, generator)
    elevation, position = cameras.elevation_deg, cameras.position
    for low in range(-10, 90, 10):
        area = max(0.0, math.sin(math.radians(low + 10)) - math.sin(math.radians(max(low, 0))))
        check_share((elevation >= low) & (elevation < low + 10), 0.5 * 0.1 + 0.5 * area)  # half by angle, half by area
    check_uniform(cameras.azimuth_deg, 0, 360)
    check_uniform(0.5 / torch.tan(torch.deg2rad(cameras.fovy_deg) / 2), 0.7, 1.35)
    out = direction(elevation, cameras.azimuth_deg)
    away = dot(position, out)  # U(1, 1.5), and the offset's part along the way: variances add
    assert moments(away)[:2] == pytest.approx((1.25, math.sqrt(0.5**2 / 12 + 0.1**2 / 3)), abs=0.006)
    level, _ = across(out)
    mean, std, kurtosis = moments(dot(position, level))  # the offset alone
    assert mean == pytest.approx(0, abs=0.0025)
    assert std == pytest.approx(0.1 / math.sqrt(3), rel=0.03)
    assert kurtosis == pytest.approx(2.1, abs=0.08)  # of uniform coordinates along a turning direction; normal: 3
    assert float(dot(position, level).abs().max()) <= 0.1 * math.sqrt(2)


def test_dreamfusions_cameras_look_as_stated(generator):
    """The look-at point and the up vector, over 10,000 draws."""
    cameras = DreamFusionCameras().draw(N, generator)
    position, right, back = cameras.position, cameras.c2w[:, :3, 0], cameras.c2w[:, :3, 2]
    toward = torch.nn.functional.normalize(position, dim=-1)
    for side in across(position):
        # Seen along the other side, the optical axis is a line through the position and the look-at point's shadow. How
        # far it passes from the origin is normal, exactly: P(t_x < k (D - t_z)) = Phi(k D / (.2 sqrt(1 + k^2))).
        slope = dot(back, side) / dot(back, toward)
        mean, std, kurtosis = moments(slope * position.norm(dim=-1) / (1 + slope**2).sqrt())
        assert mean == pytest.approx(0, abs=0.008)
        assert std == pytest.approx(0.2, rel=0.03)
        assert kurtosis == pytest.approx(3, abs=0.25)
    # right is across the up vector z + .02 n, so its height is -.02 (n . right): normal, away from the poles.
    mean, std, kurtosis = moments(right[back[:, 2].abs() < 0.9, 2])
    assert mean == pytest.approx(0, abs=0.001)
    assert std == pytest.approx(0.02, rel=0.04)
    assert kurtosis == pytest.approx(3, abs=0.25)


def test_dreamfusions_lights_as_stated(generator):
    """Direction ~ N(camera position, I), so the share on a unit vector's side is Phi(position . vector), exactly."""
    cameras = DreamFusionCameras().draw(N, generator)
    lights = DreamFusionLights().draw(cameras, generator)
    norm = lights.position.norm(dim=-1)
    check_uniform(norm, 0.8, 1.5)
    toward = torch.nn.functional.normalize(cameras.position, dim=-1)
    for side in across(cameras.position):
        for angle_deg in range(0, 181, 45):  # .89 on the camera's own side: "usually ends up on the same side"
            angle = math.radians(angle_deg)
            vector = math.cos(angle) * toward + math.sin(angle) * side
            expected = float(torch.special.ndtr(dot(cameras.position, vector)).mean())
            check_share(dot(lights.position, vector) > 0, expected)
    cosine = dot(lights.position, toward) / norm
    assert abs(float(torch.corrcoef(torch.stack([norm, cosine]))[0, 1])) < 0.04  # "separately"
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
