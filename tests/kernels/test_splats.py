"""Splats against a naive loop, by gradcheck, and the compiled passes against the reference."""

import math

import pytest
import torch

from scorelift.kernels import splats_cpu
from scorelift.kernels.splats import FAINT, SOLID, Splats, splat, splat_tiled

PARTS = ("mean", "conic", "alpha", "features")


def random_splats(n, size, *, views=1, dtype=torch.float64, seed=0, largest=3.0):
    """Some behind the camera, some faint, some half outside the picture."""
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    root = torch.eye(2, dtype=torch.float64) + largest * (draw(views, n, 2, 2) - 0.5)
    inverse = (root @ root.mT + 0.3 * torch.eye(2, dtype=torch.float64)).inverse()
    conic = torch.stack([inverse[..., 0, 0], inverse[..., 0, 1], inverse[..., 1, 1]], -1)
    found = (
        draw(views, n, 2) * (size + 8) - 4,
        conic,
        draw(views, n) * 1.1 - 0.05,
        draw(views, n, 2),
        draw(views, n) * 4 - 0.4,
    )
    return Splats(*(t.to(dtype) for t in found))


def naive(splats, size):
    """Pixel by pixel, Gaussian by Gaussian."""
    views, _, channels = splats.features.shape
    out = torch.zeros(views, channels + 1, size, size, dtype=splats.mean.dtype)
    for v in range(views):
        for row in range(size):
            for column in range(size):
                light = 1.0
                for i in splats.depth[v].argsort().tolist():
                    alpha = float(splats.alpha[v, i])
                    if splats.depth[v, i] <= 0 or alpha < FAINT or light < 1e-4:
                        continue
                    x = column + 0.5 - float(splats.mean[v, i, 0])
                    y = row + 0.5 - float(splats.mean[v, i, 1])
                    a, b, c = splats.conic[v, i].tolist()
                    at = min(alpha * math.exp(-(a * x * x + 2 * b * x * y + c * y * y) / 2), SOLID)
                    if at < FAINT:
                        continue
                    out[v, :-1, row, column] += light * at * splats.features[v, i]
                    out[v, -1, row, column] += light * at
                    light *= 1 - at
    return out


def test_the_reference_is_the_naive_loop():
    splats = random_splats(40, 12, views=2)
    expected = naive(splats, 12)
    assert expected[:, -1].max() > 0.9
    torch.testing.assert_close(splat_tiled(splats, 12), expected)
    torch.testing.assert_close(splat_tiled(splats, 12, tile=5), expected)


def test_double_precision_takes_the_reference():
    splats = random_splats(10, 8)
    assert torch.equal(splat(splats, 8), splat_tiled(splats, 8))


def test_gradients_by_finite_differences():
    splats = random_splats(5, 6)
    given = [getattr(splats, name).requires_grad_() for name in PARTS]
    assert torch.autograd.gradcheck(lambda *t: splat_tiled(Splats(*t, splats.depth), 6, tile=4), given, eps=1e-7)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_compiled_passes_are_the_reference(threads):
    splats, before = random_splats(400, 33, views=2, dtype=torch.float32, largest=12.0), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = []
        for blend in (splat_tiled, splats_cpu.splat):
            given = [getattr(splats, name).clone().requires_grad_() for name in PARTS]
            out = blend(Splats(*given, splats.depth), 33)
            up = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
            found.append([out.detach(), *torch.autograd.grad((out * up).sum(), given)])
    finally:
        torch.set_num_threads(before)
    assert found[0][0][:, -1].mean() > 0.5
    for expected, got in zip(*found, strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=2e-5 * float(expected.abs().max()))


def test_boxes_hold_all_that_is_not_faint():
    splats = random_splats(30, 10, largest=8.0)
    half = splats.half_extent()
    turn = torch.linspace(0, 2 * math.pi, 200, dtype=torch.float64)
    for v, i in (splats.alpha > FAINT).nonzero().tolist():
        a, b, c = splats.conic[v, i]
        x, y = turn.cos(), turn.sin()
        reach = (2 * torch.log(splats.alpha[v, i] / FAINT) / (a * x * x + 2 * b * x * y + c * y * y)).sqrt()
        edge = torch.stack([x, y], -1) * reach[:, None]
        assert (edge.abs().amax(0) <= half[v, i] + 1e-9).all()
        assert (edge.abs().amax(0) >= 0.99 * half[v, i]).all()


@pytest.mark.parametrize("blend", [splat_tiled, splats_cpu.splat])
def test_nothing_to_see(blend):
    none = Splats(*(torch.zeros(1, 0, *shape) for shape in ((2,), (3,), (), (4,), ())))
    assert torch.equal(blend(none, 5), torch.zeros(1, 5, 5, 5))
    far = Splats(
        torch.full((1, 1, 2), 1e6),
        torch.tensor([[[1.0, 0, 1]]]),
        torch.ones(1, 1),
        torch.ones(1, 1, 1),
        torch.ones(1, 1),
    )
    assert not blend(far, 4).any()
