"""The published architectures, as far as they are known: no configuration file was at hand.

Their numbers of parameters round to what their authors state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from diffusers import PixArtTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel, UNet2DModel

from scorelift.priors.diffusers.families import (
    DeepFloyd,
    Diffusion,
    DiffusionThree,
    DiffusionXL,
    Family,
    PixArt,
    Unconditional,
)

DOWN, UP = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3


def sd15() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8,
        down_block_types=DOWN, up_block_types=UP,
    )  # fmt: skip


def sd21(side: int = 96) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=side, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=1024,
        attention_head_dim=[5, 10, 20, 20], use_linear_projection=True, down_block_types=DOWN, up_block_types=UP,
    )  # fmt: skip


def sdxl() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=128, block_out_channels=(320, 640, 1280), cross_attention_dim=2048, use_linear_projection=True,
        attention_head_dim=[5, 10, 20], transformer_layers_per_block=[1, 2, 10], addition_embed_type="text_time",
        addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def sdxl_refiner() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=128, block_out_channels=(384, 768, 1536, 1536), cross_attention_dim=1280,
        use_linear_projection=True, attention_head_dim=[6, 12, 24, 24], transformer_layers_per_block=4,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2560,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def sd3() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24, attention_head_dim=64,
        num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536, pooled_projection_dim=2048,
        pos_embed_max_size=192,
    )  # fmt: skip


def sd35() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24, attention_head_dim=64,
        num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536, pooled_projection_dim=2048,
        pos_embed_max_size=384, qk_norm="rms_norm", dual_attention_layers=tuple(range(13)),
    )  # fmt: skip


def sd35_large() -> SD3Transformer2DModel:
    return SD3Transformer2DModel(
        sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=38, attention_head_dim=64,
        num_attention_heads=38, joint_attention_dim=4096, caption_projection_dim=2432, pooled_projection_dim=2048,
        pos_embed_max_size=192, qk_norm="rms_norm",
    )  # fmt: skip


def pixart_sigma() -> PixArtTransformer2DModel:
    return PixArtTransformer2DModel(
        sample_size=128, patch_size=2, in_channels=4, out_channels=8, num_layers=28, attention_head_dim=72,
        num_attention_heads=16, caption_channels=4096, cross_attention_dim=1152, use_additional_conditions=False,
    )  # fmt: skip


def faces() -> UNet2DModel:
    return UNet2DModel(
        sample_size=256, in_channels=3, out_channels=3, block_out_channels=(128, 128, 256, 256, 512, 512),
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"), downsample_padding=0,
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4, attention_head_dim=None, norm_eps=1e-6,
        flip_sin_to_cos=False, freq_shift=1,
    )  # fmt: skip


def deepfloyd(widths: tuple[int, ...] = (704, 1408, 2112, 2816)) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=64, in_channels=3, out_channels=6, act_fn="gelu", addition_embed_type="text",
        addition_embed_type_num_heads=64, attention_head_dim=64, block_out_channels=widths, layers_per_block=3,
        cross_attention_dim=widths[-1], cross_attention_norm="group_norm", encoder_hid_dim=4096,
        resnet_time_scale_shift="scale_shift", time_embedding_act_fn="gelu",
        down_block_types=("ResnetDownsampleBlock2D",) + ("SimpleCrossAttnDownBlock2D",) * 3,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D",) * 3 + ("ResnetUpsampleBlock2D",),
    )  # fmt: skip


@dataclass(frozen=True)
class Full:
    """An architecture, what its authors say of its size, and the tensors its prompts are."""

    build: Callable[[], Any]
    published: str
    "Parameters of the denoiser as its authors or their hub pages round them."
    family: type[Family]
    prompt: dict[str, tuple[int, ...]]
    latents: float | None
    "Scaling factor of its autoencoder; None: pixels."
    predicts: str = "epsilon"


XL = {"pooled": (1280,), "sizes": (6,)}
FULL: dict[str, Full] = {
    "sd15": Full(sd15, "860M", Diffusion, {"tokens": (77, 768)}, 0.18215),
    "sd21-base": Full(lambda: sd21(64), "866M", Diffusion, {"tokens": (77, 1024)}, 0.18215),
    "sd21": Full(sd21, "866M", Diffusion, {"tokens": (77, 1024)}, 0.18215, "v_prediction"),
    "sdxl": Full(sdxl, "2.6B", DiffusionXL, {"tokens": (77, 2048), **XL}, 0.13025),
    "sdxl-refiner": Full(
        sdxl_refiner, "2.3B", DiffusionXL, {"tokens": (77, 1280), "pooled": (1280,), "sizes": (5,)}, 0.13025
    ),
    "if": Full(deepfloyd, "4.3B", DeepFloyd, {"tokens": (77, 4096)}, None),
    "if-m": Full(lambda: deepfloyd((192, 384, 576, 768)), "0.4B", DeepFloyd, {"tokens": (77, 4096)}, None),
    "sd3": Full(sd3, "2B", DiffusionThree, {"tokens": (333, 4096), "pooled": (2048,)}, 1.5305, "flow"),
    "sd35": Full(sd35, "2.5B", DiffusionThree, {"tokens": (333, 4096), "pooled": (2048,)}, 1.5305, "flow"),
    "sd35-large": Full(sd35_large, "8.1B", DiffusionThree, {"tokens": (333, 4096), "pooled": (2048,)}, 1.5305, "flow"),
    "pixart-sigma": Full(pixart_sigma, "0.6B", PixArt, {"tokens": (300, 4096), "mask": (300,)}, 0.13025),
    "faces": Full(faces, "114M", Unconditional, {"none": (1,)}, None),
}
