"""The camera itself as a prior hears it."""

import dataclasses

import pytest
import torch

from scorelift.cli import main
from scorelift.core.camera_samplers import OrbitSampler
from scorelift.core.cameras import orbit
from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.distill.prompts import ViewPrompts
from scorelift.priors.base import ViewWords
from scorelift.priors.guidance import Guidance
from scorelift.priors.pyramid import Pyramid, UNetConfig
from scorelift.priors.sight import FEATURES, camera_features
from scorelift.priors.text import Tokenizer
from scorelift.priors.toybox import ToyboxPrior, load_toybox, weights_path
from scorelift.priors.unet import TrunkConfig
from scorelift.toybox.data import MIRROR

needs_weights = pytest.mark.skipif(not weights_path().exists(), reason="the embedded weights are not in the package")
TRUNK = TrunkConfig(
    widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), self_attention=(False, True),
    cross_attention=(False, True), text_dim=32, embedding=32,
)  # fmt: skip


def build(*, sight: bool) -> ToyboxPrior:
    torch.manual_seed(0)
    tokenizer = Tokenizer.learn(["a red duck , front view"], 40)
    config = UNetConfig(vocabulary=len(tokenizer), text_layers=1, base=TRUNK, detail=TRUNK, sight=sight)
    net = Pyramid(config)
    for parameter in net.parameters():  # what begins at zero as well
        torch.nn.init.normal_(parameter, std=0.2)
    return ToyboxPrior(net, tokenizer, ["a", "red", "duck", "front", "view", "side", "back", "overhead"], ViewWords())


def cameras(n):
    return OrbitSampler(even=False).draw(n, torch.Generator().manual_seed(3))


def test_features_of_a_camera_by_hand():
    view = orbit(torch.tensor([30.0]), torch.tensor([90.0]), torch.tensor([2.0]), torch.tensor([90.0]))
    f = camera_features(view.numbers)[0]
    assert f.shape == (FEATURES,)
    torch.testing.assert_close(f[:4], torch.tensor([0.0, -1.0, 0.0, 1.0]), atol=1e-5, rtol=0)  # 90, 180, ... degrees
    torch.testing.assert_close(f[4:8], torch.tensor([1.0, 0.0, -1.0, 0.0]), atol=1e-5, rtol=0)
    torch.testing.assert_close(f[8:12], torch.tensor([3**0.5 / 2, 0.5, 0.5, 3**0.5 / 2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(f[12:14], torch.tensor([0.0, 3**0.5 / 2]), atol=1e-5, rtol=0)
    torch.testing.assert_close(f[14], 2 * torch.tensor(0.5).log())  # focal length 1, two away
    assert f[16:].abs().max() < 1e-5  # it looks at the origin


def test_the_origins_place_is_where_it_is_seen():
    view = orbit(torch.tensor([0.0]), torch.tensor([0.0]), torch.tensor([3.0]), torch.tensor([60.0]),
                 torch.tensor([[0.0, 0.3, 0.6]]))  # fmt: skip
    right, up = camera_features(view.numbers)[0, 16:] / 5
    focal = 3**0.5
    torch.testing.assert_close(right, torch.tensor(-focal * 0.3 / 3))  # the camera's right is +y
    torch.testing.assert_close(up, torch.tensor(-focal * 0.6 / 3))


def test_a_mirrored_camera_is_the_camera_mirrored():
    view = cameras(5)
    target = torch.randn(5, 3) * 0.1
    sides = torch.tensor([1.0, -1.0, 1.0])
    one, other = (
        orbit(view.elevation_deg, turn * view.azimuth_deg, torch.full((5,), 3.0), view.fovy_deg, shift)
        for turn, shift in ((1, target), (-1, target * sides))
    )
    torch.testing.assert_close(one.numbers * torch.tensor(MIRROR), other.numbers, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_those_that_are_not_told_hear_words_alone():
    prior = build(sight=True)
    level = Level.vp(torch.ones(4))
    z = torch.randn(4, 3, 32, 32)
    text = prior.net.read(prior.tokenizer.batch(["a red duck"] * 4))
    told = torch.tensor([True, False, True, False])
    seen = prior.net.base.see(text, cameras(4).numbers, told)
    y, sigma = z / level.alpha_t.view(-1, 1, 1, 1), level.sigma_ve
    change = (prior.net(y, sigma, seen) - prior.net(y, sigma, text)).abs().amax((1, 2, 3))
    assert (change[told] > 1e-3).all()
    assert (change[~told] < 1e-5).all()


@torch.no_grad()
def test_cameras_come_with_the_prompt_alone():
    prior = build(sight=True)
    view = cameras(3)
    terms = ViewPrompts(prior, "a red duck", choice="camera").terms(view)
    said = prior.encode_prompts(["a red duck"] * 3)
    expected = prior.seen(said, view)
    assert expected.tensors["tokens"].shape[1] == said.tensors["tokens"].shape[1] + 1
    for name, tensor in expected.tensors.items():
        assert torch.equal(terms.full.tensors[name], tensor)
    assert torch.equal(terms.plain.tensors["tokens"], said.tensors["tokens"][:, : said.tensors["tokens"].shape[1]])
    level = Level.vp(torch.ones(3))
    z = torch.randn(3, 3, 32, 32)
    both = terms.guidance(2.0).x0(prior, z, level)  # conditions of different lengths in one pass
    apart = [prior.predict_x0(z, level, c) for c in (terms.full, terms.uncond)]
    torch.testing.assert_close(both, apart[1] + 2 * (apart[0] - apart[1]), atol=1e-4, rtol=1e-4)
    assert isinstance(terms.guidance(2.0), Guidance)


def test_a_prior_that_hears_no_cameras_is_told_in_words():
    prior = build(sight=False)
    assert not prior.sighted
    level = orbit(torch.zeros(2), torch.tensor([0.0, 180.0]), torch.full((2,), 3.0), torch.full((2,), 40.0))
    one, other = (ViewPrompts(prior, "a red duck", choice=choice).terms(level) for choice in ("camera", "nearest"))
    assert all(torch.equal(t, other.full.tensors[name]) for name, t in one.full.tensors.items())
    with pytest.raises(ScoreliftError, match="cameras: toybox cannot be told them"):
        prior.seen(one.full, level)


def test_a_network_with_sight_is_read_back():
    config = dataclasses.replace(build(sight=True).net.config, sketch=512)
    assert Pyramid(config).base.sketch.hidden.out_features == 512


@needs_weights
def test_samples_from_around(tmp_path, capsys):
    words = ["sample", "a yellow duck", "--n", "2", "--steps", "2", "--size", "32", "--out", str(tmp_path / "s.png")]
    assert main([*words, "--around"]) == (0 if load_toybox().sighted else 2)
    told = capsys.readouterr()
    assert (tmp_path / "s.png").exists() or "cameras: toybox cannot be told them" in told.err
