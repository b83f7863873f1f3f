"""Textures as backdrops: each kind against what it is said to be."""

import pytest
import torch

from scorelift.core.backdrops import TextureSampler, blurred, checkerboards, clouds
from scorelift.core.errors import ScoreliftError


def test_each_kind_comes_as_often_as_asked(generator):
    drawn = TextureSampler(noise=1.0, checkers=3.0, clouds=0.0, blur=(0.0, 0.0)).draw(400, 16, generator)
    assert drawn.shape == (400, 3, 16, 16)
    assert 0 <= float(drawn.min()) < float(drawn.max()) <= 1
    boards = torch.tensor([len(picture.unique()) <= 6 for picture in drawn])
    assert float(boards.float().mean()) == pytest.approx(0.75, abs=0.06)


def test_a_checkerboard_by_hand():
    black, white = torch.zeros(1, 3), torch.ones(1, 3)
    board = checkerboards(torch.stack([black, white]), 2, 4)[0, 0]
    assert board.tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert checkerboards(torch.stack([black, white]), 8, 13).shape == (1, 3, 13, 13)  # squares of unequal sizes


def test_clouds_have_the_spectrum_that_is_asked(generator):
    size, decay = 64, 1.5
    waves = clouds(torch.randn(200, 3, size, size, generator=generator), decay).logit()
    power = torch.fft.rfft2(waves).abs().square().mean((0, 1))[0]  # along one axis
    slope = torch.log(power[16] / power[4]) / torch.log(torch.tensor(16 / 4))
    assert float(slope) == pytest.approx(-2 * decay, abs=0.15)
    assert float(waves.flatten(1).std(-1).mean()) == pytest.approx(1.5, rel=1e-3)


def test_blur_by_hand():
    dot = torch.zeros(3, 21, 21)
    dot[:, 10, 10] = 1
    soft = blurred(dot, 2.0)
    assert float(soft[0].sum()) == pytest.approx(1.0, rel=1e-3)
    assert float(soft[0, 10, 12] / soft[0, 10, 10]) == pytest.approx(float(torch.tensor(-0.5).exp()), rel=1e-3)
    assert torch.equal(blurred(dot, 0.0), dot)
    flat = torch.full((3, 5, 5), 0.3)
    torch.testing.assert_close(blurred(flat, 3.0), flat)  # the border goes on


def test_the_same_generator_draws_the_same():
    first, second = (TextureSampler().draw(4, 32, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.parametrize(
    "bad",
    [{"noise": -1.0}, {"noise": 0.0, "checkers": 0.0, "clouds": 0.0}, {"squares": 0}, {"blur": (0.0, 0.9)},
     {"decay": float("nan")}],
)  # fmt: skip
def test_bad_numbers_are_named(bad):
    with pytest.raises(ScoreliftError, match=f"{next(iter(bad))}: expected"):
        TextureSampler(**bad)
