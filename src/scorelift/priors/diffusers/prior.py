"""Any text-to-image checkpoint of the diffusers library as a prior."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ...core.diffusion import Flow, Level, NoiseSchedule
from ...core.errors import ScoreliftError, bad
from ..adapters import Anatomy, attention_layers
from ..base import Condition, Prior
from ..options import ModelOptions
from .cache import PromptCache
from .checkpoint import Checkpoint
from .families import Family, Unconditional, family_of, vae_factor
from .latents import Latents
from .noise import Prediction, read_noise


class DiffusersPrior(Prior):
    """A frozen denoiser, the space it works in, and prompts that are encoded once."""

    def __init__(self, net: Any, family: Family, schedule: NoiseSchedule, prediction: Prediction,
                 latents: Latents | None, prompts: Prompts, name: str) -> None:  # fmt: skip
        self.net, self.family, self.prediction, self.latents, self.prompts = net, family, prediction, latents, prompts
        self.name, self.schedule = name, schedule
        self.bound = None if latents else 1.0
        size = net.config.sample_size
        self.sizes = (size if isinstance(size, int) else size[0],)
        self.channels = net.config.in_channels
        self.steps = 1000 if isinstance(schedule, Flow) else len(schedule.alpha_bar)  # type: ignore[attr-defined]
        edge = 1e-3 if isinstance(schedule, Flow) else 0.0
        low, high = schedule.level(torch.tensor([edge, 1 - edge])).sigma_ve.tolist()
        self.sigma_range = (low, high)

    @property
    def device(self) -> torch.device:
        return self.net.device

    def anatomy(self) -> Anatomy:
        clocks = [getattr(owner, name) for owner, name in (
            (self.net, "time_embedding"),
            (getattr(self.net, "time_text_embed", None), "timestep_embedder"),
            (getattr(getattr(self.net, "adaln_single", None), "emb", None), "timestep_embedder"),
        ) if owner is not None and getattr(owner, name, None) is not None]  # fmt: skip
        return Anatomy(attention_layers(self.net), [(clock, clock.linear_2.out_features) for clock in clocks])

    def native(self, level: Level) -> tuple[Level, Tensor]:
        """The level of the same noise as the network was trained at, and the time it is told."""
        sigma = level.sigma_ve.float()
        if isinstance(self.schedule, Flow):
            share = sigma / (1 + sigma)
            return Level(1 - share, share), share * self.steps
        return Level.vp(sigma), self.schedule.time(sigma) * (self.steps - 1)

    def predict_x0(self, z_t: Tensor, level: Level, condition: Condition) -> Tensor:
        own, time = self.native(level)
        rescale = (own.alpha_t / level.alpha_t).to(z_t).view(-1, 1, 1, 1)
        z = z_t * rescale
        dtype = self.net.dtype
        tensors = {name: t.to(self.device, dtype) for name, t in condition.tensors.items()}
        out = self.family.predict(self.net, z.to(dtype), time.to(self.device), tensors)[:, : self.channels].float()
        if self.prediction == "epsilon":
            return own.x0_from_eps(z, out)
        if self.prediction == "v_prediction":
            return own.x0_from_v(z, out)
        return own.x0_from_flow(z, out) if self.prediction == "flow" else out

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        return Condition({name: t.to(self.device) for name, t in self.prompts.encode(list(prompts)).items()})

    def encode(self, rgb: Tensor) -> Tensor:
        return self.latents.encode(rgb) if self.latents else super().encode(rgb)

    def decode(self, z: Tensor) -> Tensor:
        return self.latents.decode(z) if self.latents else super().decode(z)

    def linear_look(self) -> Tensor:
        return self.latents.linear_look(self.device) if self.latents else super().linear_look()

    def to(self, device: torch.device | str) -> DiffusersPrior:
        self.net.to(device)
        if self.latents:
            self.latents.vae.to(device)
        return self


class Prompts:
    """Reads prompts with a checkpoint's own text encoders, which are in memory only while they read.

    Raises:
        ScoreliftError: when reading, for a tokenizer that knows no words.
    """

    def __init__(self, checkpoint: Checkpoint, family: Family, options: ModelOptions, device: torch.device,
                 cache: PromptCache) -> None:  # fmt: skip
        self.checkpoint, self.family, self.options, self.cache = checkpoint, family, options, cache
        self.device = torch.device("cpu") if options.text_device == "cpu" else device
        self.names = tuple(name for name in family.encoders if checkpoint.names(name))

    def encode(self, prompts: list[str]) -> dict[str, Tensor]:
        """Tensors with one row a prompt."""
        if isinstance(self.family, Unconditional):
            if any(prompts):
                warnings.warn(f"{self.checkpoint.kind} reads no prompts: {prompts[-1]!r} has no effect", stacklevel=2)
            return {"none": torch.zeros(len(prompts), 1)}
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.cache]
        if missing:
            self._read(missing)
        rows = [self.cache[prompt] for prompt in prompts]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    @torch.no_grad()
    def _read(self, prompts: list[str]) -> None:
        pipe = self._pipeline()
        self._check_tokens(pipe, prompts)
        for prompt in prompts:  # one by one: T5-XXL takes its memory once
            tensors = self.family.read(pipe, [prompt])
            self.cache[prompt] = {name: t[0].float().cpu().contiguous() for name, t in tensors.items()}
        del pipe
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _pipeline(self) -> Any:
        """The pipeline with nothing but what reads."""
        import diffusers
        import transformers

        transformers.utils.logging.disable_progress_bar()
        kind = getattr(diffusers, self.checkpoint.kind)
        for name in self.names:
            if name.startswith("text_encoder"):
                self.checkpoint.variant(name)  # refuses pickles
        idle = {
            name: None for name, entry in self.checkpoint.index.items()
            if isinstance(entry, list) and name not in self.names
        }  # fmt: skip
        dtype = torch.float32 if self.device.type == "cpu" else self.options.dtype(self.device)
        if self.checkpoint.kind in ("IFPipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline"):
            dtype = torch.float32 if dtype == torch.float16 else dtype  # T5 overflows in fp16
        variant = self.checkpoint.variant(next(n for n in self.names if n.startswith("text_encoder")))
        pipe = kind.from_pretrained(
            str(self.checkpoint.folder), dtype=dtype, variant=variant, use_safetensors=True,
            local_files_only=True, **idle,
        ).to(self.device)  # fmt: skip
        if self.options.lora:
            fuse_lora(kind, self.options, {n: getattr(pipe, n) for n in self.names if n.startswith("text_encoder")})
        if self.options.textual_inversion:
            pipe.load_textual_inversion(self.options.textual_inversion)
        return pipe

    def _check_tokens(self, pipe: Any, prompts: list[str]) -> None:
        tokenizers = [getattr(pipe, name) for name in self.names if name.startswith("tokenizer")]
        for name, tokenizer in zip(self.names, tokenizers, strict=False):
            if len(tokenizer) < 3:
                raise bad("prior", expected=f"a tokenizer with words in {self.checkpoint.path(name)}",
                          got=f"one with {len(tokenizer)}", remedy="Its download may be incomplete.")  # fmt: skip
        limit = self.family.token_limit or max(t.model_max_length for t in tokenizers)
        tokenizer = tokenizers[-1]
        for prompt in prompts:
            ids = tokenizer(prompt, add_special_tokens=True)["input_ids"]
            if len(ids) > limit:
                cut = tokenizer.decode(ids[limit - 1 : -1])
                warnings.warn(f"the prompt has {len(ids)} tokens, {limit} are read; cut: {cut!r}", stacklevel=2)


def fuse_lora(kind: Any, options: ModelOptions, targets: dict[str, Any]) -> None:
    """Add LoRA weights to networks: "unet", "transformer", "text_encoder" or "text_encoder_2".

    Raises:
        ScoreliftError: if the file cannot be read, or fits none of them.
    """
    assert options.lora is not None
    path = Path(options.lora)
    try:
        found = kind.lora_state_dict(load_file(path) if path.is_file() else str(path), return_alphas=True)
    except (OSError, ValueError, AttributeError) as error:
        raise ScoreliftError(f"model.lora: {path} cannot be read for {kind.__name__} ({error}).") from error
    state, alphas = found if isinstance(found, tuple) else (found, None)
    for name, net in targets.items():
        if not any(key.startswith(name + ".") for key in state):
            continue
        if name in ("unet", "transformer"):
            more = {} if name == "transformer" else {"network_alphas": alphas}
            getattr(kind, f"load_lora_into_{name}")(state, **more, **{name: net})
            net.fuse_lora(lora_scale=options.lora_scale)
            net.unload_lora()
        else:
            kind.load_lora_into_text_encoder(state, alphas, net, prefix=name, lora_scale=options.lora_scale)
    if "unet" in targets or "transformer" in targets:
        known = [name for name in ("unet", "transformer", "text_encoder") if any(key.startswith(name) for key in state)]
        if not known:
            raise bad("model.lora", expected=f"weights for {', '.join(targets)}", got=f"{path} with none of those")


def load_diffusers(folder: Path, device: str | torch.device = "cpu", options: ModelOptions | None = None,
                   *, name: str | None = None, cache: Path | None = None) -> DiffusersPrior:  # fmt: skip
    """A prior from a folder that `save_pretrained` wrote or the hub gave.

    Raises:
        ScoreliftError: if diffusers is not installed, or the checkpoint is not one we can use.
    """
    try:
        import diffusers
    except ImportError as error:
        raise ScoreliftError(
            "prior: diffusers models need the diffusers library. Install it with pip install 'scorelift[diffusers]'."
        ) from error
    diffusers.utils.logging.disable_progress_bar()
    options, device = options or ModelOptions(), torch.device(device)
    checkpoint = Checkpoint.open(folder)
    family = family_of(checkpoint)
    schedule, prediction = read_noise(checkpoint)
    dtype = options.dtype(device)
    net = _component(checkpoint, family.net, dtype)
    kind = getattr(diffusers, checkpoint.kind)
    if options.lora:
        fuse_lora(kind, options, {family.net: net})
    latents = None
    if checkpoint.names("vae"):
        # Gradients underflow in fp16, and SDXL's autoencoder overflows there.
        vae = _component(checkpoint, "vae", torch.float32 if dtype == torch.float16 else dtype)
        side = net.config.sample_size
        factor = vae_factor(checkpoint.config("vae"))
        latents = Latents(vae.to(device), side if isinstance(side, int) else side[0], factor)
    layout = {"memory_format": torch.channels_last} if options.channels_last else {}
    net = net.to(device, **layout)
    if options.compile:
        net.compile()
    words = "/".join(str(part) for part in (options.lora, options.lora_scale, options.textual_inversion) if part)
    store = PromptCache(checkpoint.fingerprint(family.encoders and tuple(filter(checkpoint.names, family.encoders))),
                        words, cache)  # fmt: skip
    prompts = Prompts(checkpoint, family, options, device, store)
    return DiffusersPrior(net, family, schedule, prediction, latents, prompts, name or folder.name)


def _component(checkpoint: Checkpoint, name: str, dtype: torch.dtype) -> Any:
    """One network of a checkpoint, frozen."""
    import diffusers

    entry = checkpoint.names(name)
    kind = getattr(diffusers, entry[1], None) if entry else None
    if kind is None:
        raise bad("prior", expected=f"a {name} in {checkpoint.folder}", got=entry[1] if entry else "none",
                  remedy="Its download may be incomplete.")  # fmt: skip
    variant = checkpoint.variant(name)
    try:
        net = kind.from_pretrained(str(checkpoint.path(name)), dtype=dtype, variant=variant,
                                   use_safetensors=True, local_files_only=True)  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        raise ScoreliftError(f"prior: the {name} in {checkpoint.folder} cannot be loaded ({error}).") from error
    return net.eval().requires_grad_(False)
