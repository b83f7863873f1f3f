import dataclasses

import pytest
import torch

from scorelift.core.cameras import orbit
from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.core.lights import Lights
from scorelift.distill.noise import Sigmas, Trajectory
from scorelift.priors.base import ViewWords
from scorelift.priors.guidance import Guidance
from scorelift.priors.refiner import WEIGHTS, Refiner, RefinerConfig, ToyboxRefiner, load_refiner
from scorelift.priors.registry import load_prior
from scorelift.priors.sampling import sample
from scorelift.priors.text import Tokenizer
from scorelift.priors.toybox import weights_path
from scorelift.priors.unet import TrunkConfig
from scorelift.toybox.truth import Truth

SMALL = RefinerConfig(
    vocabulary=20,
    text_layers=1,
    trunk=dataclasses.replace(RefinerConfig(vocabulary=0).trunk, widths=(16, 16, 32), text_dim=32, embedding=32),
)
WORDS = ["a", "red", "duck"]


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Refiner(SMALL)
    for p in net.parameters():  # wake the layers that begin at zero
        if p.ndim > 1 and float(p.detach().abs().sum()) == 0:
            torch.nn.init.normal_(p, std=0.05)
    return net.eval().requires_grad_(False)


@pytest.fixture
def prior(net):
    return ToyboxRefiner(net, Tokenizer(["_", *"abcdefghijklmnop"[:17]]), WORDS, ViewWords())


def level(*sigma_ve):
    return Level.vp(torch.tensor(sigma_ve))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (8, 8), (40, 96)])
def test_any_multiple_of_eight(prior, height, width):
    out = prior.predict_x0(torch.randn(2, 3, height, width), level(0.1, 0.6), prior.encode_prompts(["a duck", ""]))
    assert out.shape == (2, 3, height, width)
    assert torch.isfinite(out).all()


def test_other_sizes_and_more_noise_are_refused(prior):
    condition = prior.encode_prompts(["a duck"])
    with pytest.raises(ScoreliftError, match=r"multiples of 8, got '60 x 64'"):
        prior.predict_x0(torch.zeros(1, 3, 60, 64), level(0.1), condition)
    with pytest.raises(ScoreliftError, match=r"at most 0.6.* got '0.7'"):
        prior.predict_x0(torch.zeros(1, 3, 64, 64), level(0.7), condition)


def test_noise_schedules_keep_to_its_range(prior, generator):
    high = Trajectory(start=1.0, end=0.0, levels=5).draw(prior, 1, 0.0, generator)
    assert float(high.sigma_ve) == pytest.approx(0.6, rel=1e-5)
    prior.predict_x0(torch.zeros(1, 3, 8, 8), high, prior.encode_prompts(["a duck"]))
    with pytest.raises(ScoreliftError, match=r"0.02 to 0.6, got '0.1 to 2'"):
        Sigmas(low=0.1, high=2.0).draw(prior, 1, 0.0, generator)


def test_almost_no_noise_changes_almost_nothing(net):
    x = torch.randn(1, 3, 32, 32)
    out = net(x, torch.tensor([1e-4]), net.read(torch.tensor([[2, 1]])))
    assert float((out - x).abs().max()) < 0.01


def test_what_lies_far_away_changes_nothing(net):
    """A crop is denoised as the whole picture is, where the crop's edges are out of sight."""
    y, s, text = torch.randn(1, 3, 320, 320), torch.tensor([0.3]), net.read(torch.tensor([[2, 3, 1]]))
    whole, part = net(y, s, text), net(y[..., 32:288, 32:288], s, text)
    torch.testing.assert_close(whole[..., 156:164, 156:164], part[..., 124:132, 124:132], atol=1e-5, rtol=1e-5)
    other = net(torch.cat([y[..., :8], 9 - y[..., 8:]], -1), s, text)
    assert float((whole - other)[..., :8].abs().max()) > 1e-3  # but what lies near does


def test_a_trunk_for_whole_pictures_is_none_for_crops():
    with pytest.raises(ScoreliftError, match="crops"):
        RefinerConfig(vocabulary=20, trunk=TrunkConfig())


def test_prompts(prior):
    x, s = torch.randn(1, 3, 16, 16), level(0.5)
    first, second = (prior.predict_x0(x, s, prior.encode_prompts([p])) for p in ("a red duck", "a duck"))
    assert float((first - second).abs().max()) > 1e-4
    with pytest.raises(ScoreliftError, match="does not know 'griffin'"):
        prior.encode_prompts(["a red griffin"])
    with pytest.raises(ScoreliftError, match="tokens"):
        prior.check_prompt("red " * 40)


def test_it_draws_nothing_from_nothing(prior, generator):
    guidance = Guidance(((prior.encode_prompts(["a duck"]), 1.0),))
    with pytest.raises(ScoreliftError, match=r"from noise alone, got 'toybox-refiner'"):
        sample(prior, guidance, generator=generator)


def test_a_twin_finds_its_layers(prior):
    anatomy = prior.anatomy()
    assert len(anatomy.clocks) == 1
    blocks = sum(SMALL.trunk.encoder_blocks) + sum(SMALL.trunk.decoder_blocks)
    reading = SMALL.trunk.encoder_blocks[2] + SMALL.trunk.decoder_blocks[2]
    assert len(anatomy.layers) == 3 * blocks + 4 * reading


def test_no_weights(tmp_path):
    with pytest.raises(ScoreliftError, match=r"toybox-refiner: no weights at .* `scorelift toybox refiner`"):
        load_refiner(tmp_path / "none.safetensors")
    with pytest.raises(ScoreliftError, match="weights of the form scorelift-toybox-refiner"):
        load_refiner(weights_path())


@pytest.mark.skipif(not weights_path(WEIGHTS).exists(), reason="the refiner's weights are not in the package")
@pytest.mark.parametrize(("sigma_ve", "gain_db"), [(0.1, 10), (0.5, 12)])
def test_the_weights_in_the_package_denoise(generator, sigma_ve, gain_db):
    prior = load_prior("toybox-refiner")
    camera = orbit(*(torch.tensor([v]) for v in (20.0, 40.0, 3.0, 32.0)))
    x = Truth("a blue teapot").picture(camera, Lights(camera.position, torch.tensor([0.6])), 256)
    z = prior.encode(x)
    noisy = z + sigma_ve * torch.randn(z.shape, generator=generator)
    at = level(sigma_ve)
    clean = prior.predict_x0(noisy * at.alpha_t, at, prior.encode_prompts(["a blue teapot"]))
    error = [float((y - z).square().mean().log10()) for y in (noisy, clean)]
    assert 10 * (error[0] - error[1]) > gain_db
