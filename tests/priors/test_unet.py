import pytest
import torch

from scorelift.priors.unet import UNet, UNetConfig


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = UNet(UNetConfig(vocabulary=20, widths=(16, 32, 32), text_dim=32, text_layers=1, embedding=32))
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


def test_almost_no_noise_changes_almost_nothing(net):
    x = torch.randn(1, 3, 32, 32)
    out = net(x, torch.tensor([1e-4]), net.read(torch.tensor([[2, 1]])))
    assert float((out - x).abs().max()) < 0.01


def test_the_prompt_matters_and_padding_does_not(net):
    x, s = torch.randn(1, 3, 32, 32), torch.tensor([1.0])
    first = net(x, s, net.read(torch.tensor([[2, 3, 1]])))
    padded = net(x, s, net.read(torch.tensor([[2, 3, 1, 0, 0]])))
    other = net(x, s, net.read(torch.tensor([[3, 2, 1]])))
    torch.testing.assert_close(first, padded, atol=1e-5, rtol=1e-4)
    assert float((first - other).abs().max()) > 1e-4
