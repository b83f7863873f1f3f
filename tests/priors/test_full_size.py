"""Architectures at full size, without memory: the counts that their authors state."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")

import published
from diffusers import AutoencoderKL
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel

from full_size import FULL
from scorelift.priors.diffusers.multiview import build_multiview
from scorelift.priors.known import CLIP_G, CLIP_H, CLIP_L, KNOWN, T5, VAE

UNITS = {"B": 1e9, "M": 1e6}


def numbers(build):
    """In the files of a network: parameters, and the table of positions that Stable Diffusion 3 and 3.5 keep there."""
    with torch.device("meta"):
        return sum(t.numel() for t in build().state_dict().values())


@pytest.mark.parametrize("name", FULL)
def test_parameters_are_as_published(name):
    full = FULL[name]
    count = numbers(full.build)
    number, unit = full.published[:-1], UNITS[full.published[-1]]
    digit = 10.0 ** -len(number.partition(".")[2])
    assert abs(count / unit - float(number)) < digit / 2 + 1e-9


ELSEWHERE = {"mvdream": lambda: build_multiview(published.FULL), "bedrooms": FULL["faces"].build}
"""Architectures of listed priors that the table has not: MVDream's, and the one of the faces once more."""


@pytest.mark.parametrize("name", KNOWN)
def test_every_listed_prior_has_a_counted_architecture(name):
    count = numbers(ELSEWHERE.get(name) or FULL[name].build)
    assert round(count / 1e9, 2) == KNOWN[name].parameters


def clip(width: int, layers: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers,
        num_attention_heads=width // 64, projection_dim=width,
    )  # fmt: skip


def t5_xxl() -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=32128, d_model=4096, d_ff=10240, num_layers=24, num_heads=64,
                                   feed_forward_proj="gated-gelu"))  # fmt: skip


def vae(channels: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), down_block_types=("DownEncoderBlock2D",) * 4, layers_per_block=2,
        up_block_types=("UpDecoderBlock2D",) * 4, latent_channels=channels, use_quant_conv=channels == 4,
        use_post_quant_conv=channels == 4,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("build", "count", "billions"),
    [
        (lambda: CLIPTextModel(clip(768, 12)), 123_060_480, CLIP_L),
        (lambda: CLIPTextModel(clip(1024, 23)), 340_387_840, CLIP_H),
        (lambda: CLIPTextModelWithProjection(clip(1280, 32)), 694_659_840, CLIP_G),
        (t5_xxl, 4_762_310_656, T5),
        (lambda: vae(4), 83_653_863, VAE),
        (lambda: vae(16), 83_819_683, VAE),  # of Stable Diffusion 3
    ],
)
def test_text_encoders_and_autoencoders(build, count, billions):
    with torch.device("meta"):
        assert sum(p.numel() for p in build().parameters()) == count
    assert round(count / 1e9, 3) == billions


def test_each_model_has_its_own_text_encoders():
    assert KNOWN["sdxl"].text == CLIP_L + CLIP_G
    assert KNOWN["sd3"].text == CLIP_L + CLIP_G + T5
    assert KNOWN["if"].text == KNOWN["pixart-sigma"].text == T5
    for known in KNOWN.values():
        assert (known.autoencoder > 0) == known.space.startswith("latent")
