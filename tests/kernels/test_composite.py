import math

import pytest
import torch

from scorelift.kernels.composite import sum_packed, weights_dense, weights_packed


def test_hand_values():
    w = weights_dense(torch.tensor([[0.0, 1.0, 2.0]]), torch.ones(1, 3))
    expected = [0.0, 1 - math.exp(-1), math.exp(-1) * (1 - math.exp(-2))]
    torch.testing.assert_close(w[0], torch.tensor(expected))


def naive(density, delta):
    out = torch.zeros_like(density)
    for ray in range(density.shape[0]):
        light = 1.0
        for i in range(density.shape[1]):
            alpha = 1 - torch.exp(-density[ray, i] * delta[ray, i])
            out[ray, i] = light * alpha
            light = light * (1 - alpha)
    return out


def packed(mask):
    return torch.nonzero(mask)[:, 0], mask


def test_dense_and_packed_agree_with_the_loop(generator):
    density = torch.rand(4, 9, generator=generator, dtype=torch.float64) * 5
    delta = 0.1 + torch.rand(4, 9, generator=generator, dtype=torch.float64)
    mask = torch.rand(4, 9, generator=generator) < 0.6
    mask[2] = False  # a ray without samples
    loop = naive(density * mask, delta)
    torch.testing.assert_close(weights_dense(density * mask, delta), loop)
    ray = torch.nonzero(mask)[:, 0]
    w, transmittance = weights_packed(density[mask], delta[mask], ray, 4)
    torch.testing.assert_close(w, loop[mask])
    torch.testing.assert_close(sum_packed(w[:, None], ray, 4)[:, 0], loop.sum(1))
    assert float(transmittance.max()) <= 1


def test_gradients(generator):
    mask = torch.tensor([[1, 1, 1], [0, 0, 0], [1, 0, 1]], dtype=torch.bool)
    density = torch.rand(5, generator=generator, dtype=torch.float64, requires_grad=True)
    values = torch.rand(5, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    delta = torch.rand(5, generator=generator, dtype=torch.float64) + 0.1
    ray = torch.nonzero(mask)[:, 0]

    def image(d, v):
        w, _ = weights_packed(d, delta, ray, 3)
        return sum_packed(w[:, None] * v, ray, 3)

    assert torch.autograd.gradcheck(image, (density, values))
    assert torch.autograd.gradcheck(
        lambda d: weights_dense(d, torch.ones_like(d)), (density.detach().view(1, 5).requires_grad_(),)
    )


def test_a_ray_of_huge_density_leaves_the_others_alone():
    density = torch.cat([torch.full((4,), 1e20), torch.tensor([0.3, 0.4, 0.5, 0.6])])
    ray = torch.tensor([0] * 4 + [1] * 4)
    weights, _ = weights_packed(density, torch.ones(8), ray, 2)
    torch.testing.assert_close(weights[4:], weights_dense(density[None, 4:], torch.ones(1, 4))[0])
    torch.testing.assert_close(weights[:4], torch.tensor([1.0, 0, 0, 0]))


def test_long_rays_keep_precision():
    n = 200_000
    density = torch.full((n,), 3.0)
    ray = torch.arange(n) // 20
    w, _ = weights_packed(density, torch.full((n,), 0.05), ray, n // 20)
    last = sum_packed(w[:, None], ray, n // 20)[-1, 0]
    assert float(last) == pytest.approx(1 - math.exp(-3), abs=1e-6)
