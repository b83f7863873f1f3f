"""The refiner: a small denoiser of large pictures under little noise, for the last touch on textures.

It is trained on crops and tells no pixel its place, so it works on pictures of any size: what it does at a pixel
depends on the pixels around it, the noise level and the prompt. SDXL's refiner in miniature; DreamFlow's third stage
distills such a model. Its file holds a copy of the embedded prior's text encoder, so it needs no other.

Ref: Podell et al., "SDXL" (2023), Sec. 2.5; Lee et al., "DreamFlow" (2024), Sec. 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..core.config import from_json
from ..core.diffusion import Level
from ..core.errors import bad
from ..core.files import load_weights
from .base import Condition, ViewWords
from .text import TextEncoder, Tokenizer
from .toybox import ToyPrior, weights_path
from .unet import Denoiser, TextFeatures, Trunk, TrunkConfig, channels_last, skip_and_scales

WEIGHTS = "toybox-refiner.safetensors"
FORMAT = "scorelift-toybox-refiner-1"
REMEDY = "Train them with `scorelift toybox refiner`."


@dataclass(frozen=True, kw_only=True)
class RefinerConfig:
    """Sizes of the network, and the noise it is for."""

    vocabulary: int
    text_layers: int = 3
    "Of the embedded prior's text encoder, which is copied."
    trunk: TrunkConfig = TrunkConfig(
        widths=(48, 64, 96),
        encoder_blocks=(1, 1, 1),
        decoder_blocks=(2, 2, 2),
        self_attention=(False, False, False),
        cross_attention=(False, False, True),
        embedding=128,
        crops=True,
    )
    sigma_range: tuple[float, float] = (0.02, 0.6)
    "Noise-to-signal ratios it is trained at."

    def __post_init__(self) -> None:
        if not self.trunk.crops or any(self.trunk.self_attention):
            raise bad("trunk", expected="crops without self-attention", got=self.trunk)

    @property
    def stride(self) -> int:
        """What heights and widths are multiples of."""
        return 2 ** len(self.trunk.widths)


class Refiner(Denoiser):
    """A trunk on 2 x 2 blocks of pixels, at any size; the text encoder is not trained."""

    def __init__(self, config: RefinerConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.trunk.text_dim
        self.text = TextEncoder(config.vocabulary, dim, config.text_layers, dim // config.trunk.head)
        self.text.requires_grad_(False)
        self.trunk = Trunk(config.trunk, inputs=12, outputs=12)

    @property
    def trunks(self) -> tuple[Trunk, ...]:
        return (self.trunk,)

    def read(self, ids: Tensor) -> TextFeatures:
        return TextFeatures(*self.text(ids))

    def forward(self, y: Float[Tensor, "b 3 h w"], sigma_ve: Float[Tensor, " b"], text: TextFeatures) -> Tensor:
        skip, c_in, c_out = skip_and_scales(sigma_ve, self.config.trunk.sigma_data, y)
        raw = self.trunk(F.pixel_unshuffle(y * c_in, 2), sigma_ve, text)
        return skip * y + c_out * F.pixel_shuffle(raw, 2)


class ToyboxRefiner(ToyPrior):
    """Pixel diffusion under little noise, of pictures of any size, of the objects listed by `scorelift toybox words`.

    It draws no picture from nothing: that is for the prior `toybox`.
    """

    name = "toybox-refiner"
    sizes = (256, 128)
    net: Refiner

    def __init__(self, net: Refiner, tokenizer: Tokenizer, known_words: list[str], view_words: ViewWords) -> None:
        super().__init__(net, tokenizer, known_words, view_words)
        self.sigma_range = net.config.sigma_range

    def check_size(self, height: int, width: int) -> None:
        stride = self.net.config.stride
        if height % stride or width % stride:
            raise bad("size", expected=f"height and width that are multiples of {stride}", got=f"{height} x {width}")

    def predict_x0(self, z_t: Float[Tensor, "b 3 h w"], level: Level, condition: Condition) -> Float[Tensor, "b 3 h w"]:
        """The estimate of the clean picture.

        Raises:
            ScoreliftError: for a size it cannot halve often enough, or more noise than it was trained at.
        """
        high = self.sigma_range[1]
        noise = float(level.sigma_ve.max())
        if noise > high * 1.001:  # rounding of a level at the very end
            raise bad("noise", expected=f"sigma_ve of at most {high:g}, for that is what {self.name} was trained at",
                      got=f"{noise:.3g}", remedy="Begin at a lower level, or use the prior toybox.")  # fmt: skip
        return super().predict_x0(z_t, level, condition)


def load_refiner(path: Path | None = None, device: str | torch.device = "cpu") -> ToyboxRefiner:
    """Load the refiner that ships with the package, or one that `scorelift toybox refiner` trained.

    Raises:
        ScoreliftError: if the file is missing, damaged or of another kind.
    """
    path = path or weights_path(WEIGHTS)
    tensors, about = load_weights(path, ToyboxRefiner.name, REMEDY)
    if about.get("format") != FORMAT:
        raise bad(ToyboxRefiner.name, expected=f"weights of the form {FORMAT}", got=str(path), remedy=REMEDY)
    net = Refiner(from_json(about["network"], (RefinerConfig, TrunkConfig)))
    net.load_state_dict(tensors)
    view_words = from_json({"type": "ViewWords", **about["view_words"]}, (ViewWords,))
    return ToyboxRefiner(channels_last(net.to(device)), Tokenizer(about["pieces"]), about["words"], view_words)
