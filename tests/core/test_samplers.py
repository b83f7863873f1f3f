import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.core.samplers import BackdropSampler, LightSampler, OrbitSampler, RingSampler, ShadingSampler

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
