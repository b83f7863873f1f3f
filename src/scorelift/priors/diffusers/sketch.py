"""A checkpoint as a prior without its weights: tensors have shapes and no numbers, and their memory can be counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..known import check_installed
from ..options import ModelOptions
from .checkpoint import Checkpoint, side, vae_factor
from .families import (
    ClassConditional,
    DiffusionThree,
    DiffusionXL,
    Family,
    PixArt,
    Unconditional,
)
from .kinds import family_of
from .latents import Latents
from .multiview import build_multiview
from .noise import read_noise
from .prior import DiffusersPrior
from .prompts import WITH_T5, reading_bytes
from .resting import check_able, spared

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
"""Of a GPU; by default it computes in fp16."""


class Unread:
    """Stands for prompts: tensors of the shapes that a checkpoint's text encoders give."""

    def __init__(self, family: Family, config: Any) -> None:
        self.dtype = torch.long if isinstance(family, ClassConditional) else torch.float32
        widths = ("encoder_hid_dim", "joint_attention_dim", "caption_channels", "cross_attention_dim")
        width = next((w for name in widths if (w := config.get(name))), 1)
        tokens = family.token_limit or 77
        if isinstance(family, ClassConditional):
            self.shapes: dict[str, tuple[int, ...]] = {"label": ()}
        elif isinstance(family, Unconditional):
            self.shapes = {"none": (1,)}
        elif isinstance(family, PixArt):
            self.shapes = {"tokens": (tokens, width), "mask": (tokens,)}
        elif isinstance(family, DiffusionThree):
            self.shapes = {"tokens": (77 + family.t5_tokens, width), "pooled": (config["pooled_projection_dim"],)}
        elif isinstance(family, DiffusionXL):
            sizes = len(family.sizes) + family.score
            pooled = config["projection_class_embeddings_input_dim"] - sizes * config["addition_time_embed_dim"]
            self.shapes = {"tokens": (tokens, width), "pooled": (pooled,), "sizes": (sizes,)}
        else:
            self.shapes = {"tokens": (tokens, width)}

    def encode(self, prompts: list[str]) -> dict[str, Tensor]:
        """Tensors with one row a prompt."""
        return {name: torch.zeros(len(prompts), *shape, dtype=self.dtype) for name, shape in self.shapes.items()}


def sketch_diffusers(folder: Path, options: ModelOptions | None = None, *, name: str | None = None) -> DiffusersPrior:
    """What `load_diffusers` would load on a GPU, on device "meta"; only configurations are read.

    Raises:
        ScoreliftError: as `load_diffusers`.
    """
    check_installed("prior: diffusers models", "diffusers", "transformers")
    import diffusers

    options = options or ModelOptions()
    checkpoint = Checkpoint.open(folder)
    family = family_of(checkpoint)
    noise = read_noise(checkpoint)
    dtype = PRECISIONS.get(options.precision, torch.float16)

    def build(component: str, precision: torch.dtype) -> Any:
        config = checkpoint.config(component)
        with checkpoint.explained(component), torch.device("meta"):
            if component == family.net and family.views > 1:
                net = build_multiview(config)
            else:
                net = checkpoint.network(component).from_config(config)
        diffusers.utils.logging.set_verbosity_error()  # it advises against what is right here
        return net.to("meta", precision).eval().requires_grad_(False)

    verbosity = diffusers.utils.logging.get_verbosity()
    try:
        net = build(family.net, dtype)
        latents = None
        if checkpoint.names("vae"):
            vae = build("vae", torch.float32 if dtype == torch.float16 else dtype)
            factor = vae_factor(checkpoint.config("vae"))
            latents = Latents(vae, side(net.config, family.net), factor)
    finally:
        diffusers.utils.logging.set_verbosity(verbosity)
    if options.offload:
        check_able(type(net))
    prompts: Any = Unread(family, net.config)
    resting = spared(net) if options.offload else 0
    return DiffusersPrior(net, family, noise, latents, prompts, name or folder.name, resting)


def text_bytes(folder: Path, options: ModelOptions | None = None) -> int:
    """Memory on the GPU of a checkpoint's text encoders while they read a new prompt; 0 where the CPU reads.

    Raises:
        ScoreliftError: if a file of weights is damaged.
    """
    checkpoint, options = Checkpoint.open(folder), options or ModelOptions()
    if options.text_device == "cpu":
        return 0
    dtype = PRECISIONS.get(options.precision, torch.float16)
    dtype = torch.float32 if checkpoint.kind in WITH_T5 and dtype == torch.float16 else dtype
    there = [name for name in family_of(checkpoint).encoders if checkpoint.names(name)]
    return reading_bytes(checkpoint, there, dtype, options.text_bits)
