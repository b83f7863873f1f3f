"""The centre-depth loss: never without a value, and toward the middle."""

import math

import pytest
import torch
from test_volume import ball, volume

from scorelift.core.camera_samplers import RingSampler
from scorelift.core.errors import ScoreliftError
from scorelift.scenes import Volume
from scorelift.scenes.base import Render
from scorelift.scenes.losses import centre_depth_loss


def shifted(offset: float) -> Volume:
    scene = ball(24, 0.35)
    cells = round(offset * 23 / 2)
    with torch.no_grad():
        scene.field.density.copy_(torch.roll(scene.field.density, cells, 1))
    return scene


def test_centre_depth_is_finite_and_prefers_the_middle():
    camera = RingSampler(count=1, elevation_deg=0.0).ring()

    def loss(scene: Volume) -> torch.Tensor:
        return centre_depth_loss(scene.render(camera, 24), far=4.0)

    empty = ball(24, -1.0)
    centred, aside = loss(shifted(0.0)), loss(shifted(0.6))
    assert float(centred.detach()) < float(aside.detach())
    assert float(centred.detach()) < float(loss(empty).detach())
    for scene in (shifted(0.0), shifted(0.6), empty, volume().float()):
        loss(scene).backward()
        assert bool(torch.isfinite(scene.field.density.grad).all())
    thin = ball(24, -1.0)
    with torch.no_grad():
        thin.field.density.fill_(-4.0)
    loss(thin).backward()
    grad = thin.field.density.grad[..., 0]
    assert float(grad[12, 12, 12]) < 0 < float(grad[12, 2, 12])  # descent fills the middle and clears the border


@pytest.mark.parametrize("offset", [0.0, 0.6])
def test_centre_depth_pulls_a_ball_to_the_middle_or_leaves_it_there(offset):
    scene, camera = shifted(offset), RingSampler(count=1, elevation_deg=0.0).ring()
    optimizer = torch.optim.Adamax(scene.field.parameters(), lr=0.05)

    def middle() -> float:
        x = scene.render(camera, 24).opacity.detach()[0, 0].sum(0)
        return float((x * torch.linspace(-1, 1, 24)).sum() / x.sum())

    before = middle()
    for _ in range(40):
        optimizer.zero_grad()
        centre_depth_loss(scene.render(camera, 24), far=4.0).backward()
        optimizer.step()
    if offset:
        assert abs(before) > 0.3
        assert abs(middle()) < abs(before) - 0.02
    else:
        assert abs(middle()) < 0.02


def test_centre_depth_however_far_off_and_of_the_smallest_pictures():
    depth, opacity = torch.zeros(1, 1, 9, 9), torch.ones(1, 1, 9, 9, requires_grad=True)
    loss = centre_depth_loss(Render(rgb=depth, opacity=opacity, depth=depth + 1e3), far=0.0)
    bare = torch.zeros(1, 1, 9, 9)
    bare[..., 2:7, 2:7] = 1e3  # the middle a thousand units behind the border
    worst = centre_depth_loss(Render(rgb=depth, opacity=torch.ones(1, 1, 9, 9), depth=bare), far=0.0)
    assert float(worst) == pytest.approx(4e3 + math.log(4), rel=1e-4)
    assert bool(torch.isfinite(loss))
    small = torch.rand(1, 1, 3, 3)
    assert bool(torch.isfinite(centre_depth_loss(Render(rgb=small, opacity=small, depth=small), far=2.0)))
    with pytest.raises(ScoreliftError, match="3 x 3"):
        centre_depth_loss(Render(*[small[..., :2, :2]] * 3), far=2.0)
