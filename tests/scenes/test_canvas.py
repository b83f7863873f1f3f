import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.core.samplers import RingSampler
from scorelift.scenes import Canvas, CanvasConfig


@pytest.mark.parametrize("kind", ["pixels", "mirror", "mlp"])
def test_pictures_follow_their_parameters(kind):
    scene = Canvas(CanvasConfig(kind=kind, pictures=2, resolution=16))
    optimizer = torch.optim.Adam(scene.groups(0.05))
    target = torch.rand(2, 3, 1, 1).expand(2, 3, 16, 16)
    for _ in range(150):
        loss = ((scene.render(RingSampler(count=2).ring(), 16).rgb - target) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 1e-3


def test_the_mirror_mirrors():
    image = Canvas(CanvasConfig(kind="mirror", resolution=16)).picture(16)
    assert torch.equal(image, image.flip(-1))


def test_other_sizes_are_resampled():
    assert Canvas(CanvasConfig(resolution=16)).picture(32).shape == (1, 3, 32, 32)
    assert Canvas(CanvasConfig(kind="mlp", pictures=3)).render_all(8).shape == (3, 8, 24)


def test_bad_sizes():
    with pytest.raises(ScoreliftError, match="resolution"):
        CanvasConfig(resolution=0)
