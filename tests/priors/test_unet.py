import dataclasses

import pytest
import torch

from scorelift.priors.pyramid import Pyramid, UNetConfig, double, halve
from scorelift.priors.unet import TrunkConfig


@pytest.fixture(params=[1, 2], ids=["pixels", "blocks"])
def net(request):
    torch.manual_seed(0)
    base = TrunkConfig(widths=(16, 32, 32), text_dim=32, embedding=32)
    detail = dataclasses.replace(UNetConfig(vocabulary=0).detail, widths=(16, 16), text_dim=32, embedding=32)
    net = Pyramid(UNetConfig(vocabulary=20, text_layers=1, block=request.param, base=base, detail=detail))
    for p in net.parameters():  # wake the layers that begin at zero
        if p.ndim > 1 and float(p.detach().abs().sum()) == 0:
            torch.nn.init.normal_(p, std=0.05)
    return net.eval().requires_grad_(False)


@pytest.mark.parametrize("size", [32, 64])
def test_shapes_at_both_sizes(net, size):
    text = net.read(torch.tensor([[2, 3, 1], [4, 1, 0]]))
    out = net(torch.randn(2, 3, size, size), torch.tensor([0.1, 10.0]), text)
    assert out.shape == (2, 3, size, size)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("size", [32, 64])
def test_almost_no_noise_changes_almost_nothing(net, size):
    x = torch.randn(1, 3, size, size)
    out = net(x, torch.tensor([1e-4]), net.read(torch.tensor([[2, 1]])))
    assert float((out - x).abs().max()) < 0.01


def test_the_prompt_matters_and_padding_does_not(net):
    x, s = torch.randn(1, 3, 64, 64), torch.tensor([1.0])
    first = net(x, s, net.read(torch.tensor([[2, 3, 1]])))
    padded = net(x, s, net.read(torch.tensor([[2, 3, 1, 0, 0]])))
    other = net(x, s, net.read(torch.tensor([[3, 2, 1]])))
    torch.testing.assert_close(first, padded, atol=1e-5, rtol=1e-4)
    assert float((first - other).abs().max()) > 1e-4


def test_the_large_picture_halved_is_the_small_one(net):
    y, s, text = torch.randn(2, 3, 64, 64), torch.tensor([0.3, 4.0]), net.read(torch.tensor([[2, 3, 1], [4, 1, 0]]))
    torch.testing.assert_close(halve(net(y, s, text)), net(halve(y), s / 2, text), atol=1e-5, rtol=1e-5)


def test_halving_and_doubling():
    x = torch.arange(16.0).view(1, 1, 4, 4)
    assert halve(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    torch.testing.assert_close(halve(double(x)), x)
    noise = torch.randn(1, 1, 400, 400)
    assert float(halve(noise).std()) == pytest.approx(0.5, rel=0.02)  # half the noise
