"""Tiny checkpoints of the real classes, with the configuration fields real ones have, saved as real ones are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    IFPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from published import TINY, random_weights
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

from scorelift.core.diffusion import Level
from scorelift.priors.base import Prior

SCALED = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
WORDS = ["a", "of", "red", "mushroom", "duck", "front", "back", "side", "overhead", "view", ","]


def clip_tokenizer(folder: Path) -> CLIPTokenizer:
    """Letters and a few words."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = [chr(c) for c in range(33, 127)]
    pieces = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(dict.fromkeys(pieces))}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def t5_tokenizer() -> T5Tokenizer:
    """Whole words."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -10.0), *(("▁" + w, -2.0) for w in WORDS)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=77)


def clip(*, projection: bool = False, width: int = 32) -> CLIPTextModel | CLIPTextModelWithProjection:
    config = CLIPTextConfig(
        vocab_size=200, hidden_size=width, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4,
        projection_dim=width, max_position_embeddings=77, bos_token_id=188, eos_token_id=189, pad_token_id=1,
    )  # fmt: skip
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def t5(width: int = 32) -> T5EncoderModel:
    return T5EncoderModel(T5Config(vocab_size=64, d_model=width, d_kv=8, d_ff=37, num_layers=2, num_heads=4))


def vae(channels: int = 4, **more: object) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, sample_size=16,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=channels, norm_num_groups=4, **more,
    )  # fmt: skip


def unet(**more: object) -> UNet2DConditionModel:
    settings = {
        "sample_size": 8, "block_out_channels": (8, 16), "layers_per_block": 1, "in_channels": 4, "out_channels": 4,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "cross_attention_dim": 32, "norm_num_groups": 4,
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "attention_head_dim": 4,
    }  # fmt: skip
    return UNet2DConditionModel(**{**settings, **more})


def diffusion(folder: Path, **scheduler: object) -> StableDiffusionPipeline:
    return StableDiffusionPipeline(
        vae=vae(scaling_factor=0.18215), text_encoder=clip(), tokenizer=clip_tokenizer(folder / "words"), unet=unet(),
        scheduler=PNDMScheduler(**SCALED, skip_prk_steps=True, steps_offset=1, **scheduler), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sd15(folder: Path) -> StableDiffusionPipeline:
    return diffusion(folder)


def sd21(folder: Path) -> StableDiffusionPipeline:
    return diffusion(folder, prediction_type="v_prediction")


def xl_unet(scores: int, width: int) -> UNet2DConditionModel:
    return unet(
        addition_embed_type="text_time", addition_time_embed_dim=8, cross_attention_dim=width,
        projection_class_embeddings_input_dim=8 * scores + 32, transformer_layers_per_block=(1, 1),
    )  # fmt: skip


def sdxl(folder: Path) -> StableDiffusionXLPipeline:
    words = clip_tokenizer(folder / "words")
    return StableDiffusionXLPipeline(
        vae=vae(scaling_factor=0.13025, force_upcast=True), text_encoder=clip(), tokenizer=words, tokenizer_2=words,
        text_encoder_2=clip(projection=True), unet=xl_unet(6, 64), scheduler=EulerDiscreteScheduler(**SCALED),
        force_zeros_for_empty_prompt=True, add_watermarker=False,
    )  # fmt: skip


def refiner(folder: Path) -> StableDiffusionXLImg2ImgPipeline:
    return StableDiffusionXLImg2ImgPipeline(
        vae=vae(scaling_factor=0.13025, force_upcast=True), text_encoder=None, tokenizer=None,
        tokenizer_2=clip_tokenizer(folder / "words"), text_encoder_2=clip(projection=True), unet=xl_unet(5, 32),
        scheduler=EulerDiscreteScheduler(**SCALED), requires_aesthetics_score=True, add_watermarker=False,
        force_zeros_for_empty_prompt=False,
    )  # fmt: skip


def deepfloyd(folder: Path) -> IFPipeline:
    net = unet(
        in_channels=3, out_channels=6, sample_size=16, block_out_channels=(16, 32), attention_head_dim=8,
        act_fn="gelu", time_embedding_act_fn="gelu", resnet_time_scale_shift="scale_shift",
        addition_embed_type="text", addition_embed_type_num_heads=4, cross_attention_norm="group_norm",
        encoder_hid_dim=32, encoder_hid_dim_type="text_proj", mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
    )  # fmt: skip
    return IFPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5(), unet=net,
        scheduler=DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", variance_type="learned_range", thresholding=True,
            dynamic_thresholding_ratio=0.95, sample_max_value=1.5,
        ),
        safety_checker=None, feature_extractor=None, watermarker=None, requires_safety_checker=False,
    )  # fmt: skip


def sd35(folder: Path) -> StableDiffusion3Pipeline:
    """With a second self-attention in some blocks, and normalized queries and keys."""
    return sd3(folder, patch_size=2, num_layers=3, dual_attention_layers=(0, 1), qk_norm="rms_norm")


def sd3(folder: Path, **more: object) -> StableDiffusion3Pipeline:
    words = clip_tokenizer(folder / "words")
    settings = {
        "sample_size": 8, "patch_size": 1, "in_channels": 16, "out_channels": 16, "num_layers": 1,
        "attention_head_dim": 8, "num_attention_heads": 4, "joint_attention_dim": 64, "caption_projection_dim": 32,
        "pooled_projection_dim": 64, "pos_embed_max_size": 16,
    }  # fmt: skip
    net = SD3Transformer2DModel(**{**settings, **more})
    return StableDiffusion3Pipeline(
        transformer=net, scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0), tokenizer=words, tokenizer_2=words,
        vae=vae(16, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(projection=True), text_encoder_2=clip(projection=True), text_encoder_3=t5(64),
        tokenizer_3=t5_tokenizer(),
    )  # fmt: skip


def pixart(folder: Path) -> PixArtSigmaPipeline:
    net = PixArtTransformer2DModel(
        sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=32,
        in_channels=4, out_channels=8, cross_attention_dim=24, use_additional_conditions=False, norm_num_groups=1,
    )  # fmt: skip
    return PixArtSigmaPipeline(
        transformer=net, vae=vae(scaling_factor=0.13025), text_encoder=t5(), tokenizer=t5_tokenizer(),
        scheduler=DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02),
    )  # fmt: skip


def dit(folder: Path) -> DiTPipeline:
    net = DiTTransformer2DModel(
        sample_size=8, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2, in_channels=4,
        out_channels=8, num_embeds_ada_norm=3, attention_bias=True, norm_elementwise_affine=False,
    )  # fmt: skip
    return DiTPipeline(net, vae(scaling_factor=0.18215), DDIMScheduler(beta_schedule="linear"))


def ddpm(folder: Path) -> DDPMPipeline:
    net = UNet2DModel(
        sample_size=16, in_channels=3, out_channels=3, block_out_channels=(8, 16), layers_per_block=1,
        norm_num_groups=4, down_block_types=("DownBlock2D", "AttnDownBlock2D"), attention_head_dim=None,
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), flip_sin_to_cos=False, freq_shift=1, downsample_padding=0,
    )  # fmt: skip
    return DDPMPipeline(unet=net, scheduler=DDIMScheduler(beta_schedule="linear", clip_sample=True))


KINDS: dict[str, Callable[[Path], object]] = {
    "sd15": sd15, "sd21": sd21, "sdxl": sdxl, "refiner": refiner, "if": deepfloyd, "sd3": sd3, "sd35": sd35,
    "pixart": pixart, "dit": dit, "ddpm": ddpm,
}  # fmt: skip


def save(kind: str, folder: Path) -> Path:
    """A checkpoint with weights drawn from seed 0; every parameter counts, also those that begin as zeros."""
    torch.manual_seed(0)
    pipe = KINDS[kind](folder)
    for net in (getattr(pipe, "unet", None), getattr(pipe, "transformer", None)):
        if net is not None:
            for parameter in net.parameters():
                parameter.data.add_(0.02 * torch.randn_like(parameter))
    pipe.save_pretrained(folder / kind)
    if kind == "dit":  # published ones name their classes there; save_pretrained does not
        index = folder / kind / "model_index.json"
        names = {"0": "duck", "1": "red mushroom, toadstool", "2": "mushroom"}
        index.write_text(json.dumps({**json.loads(index.read_text()), "id2label": names}))
    return folder / kind


def multiview(folder: Path, weights: dict[str, Tensor] | None = None) -> Path:
    """A tiny MVDream in the layout of its port to diffusers: the network under the names it was published with."""
    torch.manual_seed(0)
    pipe = StableDiffusionPipeline(
        vae=vae(scaling_factor=0.18215), text_encoder=clip(), tokenizer=clip_tokenizer(folder / "words"), unet=unet(),
        scheduler=DDIMScheduler(**SCALED, steps_offset=1, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    target = folder / "mvdream"
    parts = ("vae", "text_encoder", "tokenizer", "scheduler")
    for part in parts:
        getattr(pipe, part).save_pretrained(target / part)
    (target / "unet").mkdir()
    save_file(weights or random_weights(TINY), target / "unet" / "diffusion_pytorch_model.safetensors")
    (target / "unet" / "config.json").write_text(json.dumps({"_class_name": "MultiViewUNetModel", **TINY}))
    (target / "unet" / "mv_unet.py").write_text("raise RuntimeError('code of a checkpoint was run')\n")
    library = {"text_encoder": "transformers", "tokenizer": "transformers"}
    index = {part: [library.get(part, "diffusers"), type(getattr(pipe, part)).__name__] for part in parts}
    index |= {"unet": ["mv_unet", "MultiViewUNetModel"], "feature_extractor": [None, None],
              "image_encoder": [None, None], "requires_safety_checker": False}  # fmt: skip
    (target / "model_index.json").write_text(json.dumps({"_class_name": "MVDreamPipeline", **index}))
    return target


def halve(folder: Path, component: str, *, keep: bool = False, shard: str = "5GB") -> None:
    """Give a component of a checkpoint an fp16 variant, which replaces its plain weights unless they are kept."""
    library, kind = json.loads((folder / "model_index.json").read_text())[component]
    net = getattr({"diffusers": diffusers, "transformers": transformers}[library], kind)
    net = net.from_pretrained(folder / component).half()
    plain = [(file, file.read_bytes()) for file in (folder / component).glob("*.safetensors")]
    net.save_pretrained(folder / component, variant="fp16", max_shard_size=shard)
    for file, data in plain:
        if keep:
            file.write_bytes(data)
        else:
            file.unlink(missing_ok=True)


def noisy(prior: Prior, level: Level) -> tuple[Tensor, Tensor]:
    """A picture in the prior's space for each level, and noise."""
    z = torch.randn(len(level), prior.channels, *prior.sizes * 2, generator=torch.Generator().manual_seed(1))
    return z, torch.randn(z.shape, generator=torch.Generator().manual_seed(2))
