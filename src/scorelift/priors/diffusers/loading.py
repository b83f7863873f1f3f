"""From a folder to a prior."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import torch

from ...core.memory import memory_errors
from ..known import check_installed
from ..options import ModelOptions
from .checkpoint import Checkpoint, side, vae_factor
from .kinds import family_of
from .latents import Latents
from .lora import fuse_lora
from .multiview import load_multiview
from .noise import read_noise
from .prior import DiffusersPrior
from .prompts import Prompts
from .resting import able, check_able, rest, spared


def load_diffusers(folder: Path, device: str | torch.device = "cpu", options: ModelOptions | None = None,
                   *, name: str | None = None, cache: Path | None = None) -> DiffusersPrior:  # fmt: skip
    """A prior from a folder that `save_pretrained` wrote or the hub gave.

    Raises:
        ScoreliftError: if diffusers is not installed, or the checkpoint is not one we can use.
    """
    check_installed("prior: diffusers models", "diffusers", "transformers")
    import diffusers

    diffusers.utils.logging.disable_progress_bar()
    options, device = options or ModelOptions(), torch.device(device)
    options.check_files()
    checkpoint = Checkpoint.open(folder)
    family = family_of(checkpoint)
    noise = read_noise(checkpoint)
    dtype = options.dtype(device)
    net = load_multiview(checkpoint, dtype) if family.views > 1 else _component(checkpoint, family.net, dtype)
    if options.loras():
        fuse_lora(checkpoint, options, {family.net: net})
    latents = None
    if checkpoint.names("vae"):
        # Gradients underflow in fp16, and SDXL's autoencoder overflows there.
        vae = _component(checkpoint, "vae", torch.float32 if dtype == torch.float16 else dtype)
        factor = vae_factor(checkpoint.config("vae"))
        latents = Latents(vae.to(device), side(net.config, family.net), factor)
    resting = _place(net, device, options)
    if options.compile:
        import torch._dynamo.config as compiler

        # Twins come and go as hooks on the network; a network that was compiled without hooks would not hear of them.
        compiler.skip_nnmodule_hook_guards = False
        compiler.recompile_limit = max(compiler.recompile_limit, 64)  # each twin, heard or not, learning or not
        net.compile()
    prompts = Prompts(checkpoint, family, options, device, cache)
    return DiffusersPrior(net, family, noise, latents, prompts, name or folder.name, resting)


def _place(net: Any, device: torch.device, options: ModelOptions) -> int:
    """Bring a network to where it computes, its weights to CPU memory where they shall rest or no card holds them.

    Returns:
        Bytes that rest.

    Raises:
        ScoreliftError: if they shall rest and cannot.
    """
    if options.channels_last:
        net.to(memory_format=torch.channels_last)
    if options.offload:
        check_able(type(net))
    else:
        try:
            with memory_errors():
                net.to(device)
            return 0
        except torch.OutOfMemoryError:
            if device.type == "cpu" or options.compile or not able(net):
                raise
        gc.collect()
        torch.cuda.empty_cache()
        warnings.warn("the denoiser does not fit the GPU: its weights rest in CPU memory and come layer by layer, "
                      "which is slower. --model.offload says so from the start", stacklevel=3)  # fmt: skip
    if device.type == "cpu":
        return 0
    rest(net, device)
    return spared(net)


def _component(checkpoint: Checkpoint, name: str, dtype: torch.dtype) -> Any:
    """One network of a checkpoint, frozen."""
    variant = checkpoint.variant(name)
    with checkpoint.explained(name):
        net, told = checkpoint.network(name).from_pretrained(
            str(checkpoint.path(name)), dtype=dtype, variant=variant, use_safetensors=True, local_files_only=True,
            output_loading_info=True,
        )  # fmt: skip
    checkpoint.check_whole(name, told)
    return net.eval().requires_grad_(False)
