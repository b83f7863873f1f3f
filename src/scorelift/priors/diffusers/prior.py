"""Any text-to-image checkpoint of the diffusers library as a prior."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from ...core.cameras import Cameras
from ...core.diffusion import Flow, Level
from ...core.errors import bad
from ..adapters import Anatomy, attention_layers
from ..base import Condition, Prior
from .checkpoint import side
from .families import Family
from .latents import Latents, scaled
from .noise import Noise
from .prompts import Prompts
from .resting import able, lending, rest, spared

PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


class DiffusersPrior(Prior):
    """A frozen denoiser, the space it works in, and prompts that are encoded once."""

    def __init__(self, net: Any, family: Family, noise: Noise, latents: Latents | None, prompts: Prompts,
                 name: str, resting: int = 0) -> None:  # fmt: skip
        self.net, self.family, self.latents, self.prompts = net, family, latents, prompts
        self.schedule, self.prediction, self.steps = noise.schedule, noise.prediction, noise.steps
        self.name, self.views, self.resting = name, family.views, resting
        self.bound, self.guidance, self.trained_until = None if latents else 1.0, family.guidance, family.trained_until
        self.place = net.device  # which takes a network milliseconds to say, as its dtype does
        self.sizes = (side(net.config, family.net),)
        self.channels = net.config.in_channels
        edge = 1e-3 if isinstance(self.schedule, Flow) else 0.0
        low, high = self.schedule.level(torch.tensor([edge, 1 - edge])).sigma_ve.tolist()
        self.sigma_range = (low, high)

    @property
    def device(self) -> torch.device:
        return self.place

    def anatomy(self) -> Anatomy:
        clocks = [getattr(owner, name) for owner, name in (
            (self.net, "time_embedding"),
            (getattr(self.net, "time_text_embed", None), "timestep_embedder"),
            (getattr(getattr(self.net, "adaln_single", None), "emb", None), "timestep_embedder"),
        ) if owner is not None and getattr(owner, name, None) is not None]  # fmt: skip
        return Anatomy(attention_layers(self.net), [(clock, clock.linear_2.out_features) for clock in clocks])

    def native(self, level: Level) -> tuple[Level, Tensor]:
        """The level of the same noise as the network was trained at, and the time it is told."""
        sigma = level.sigma_ve
        if isinstance(self.schedule, Flow):
            share = sigma / (1 + sigma)
            return Level(1 - share, share), share * self.steps
        return Level.vp(sigma), self.schedule.time(sigma) * (self.steps - 1)

    def predict_x0(self, z_t: Tensor, level: Level, condition: Condition) -> Tensor:
        self.check_views(len(z_t))
        if self.views > 1 and "pose" not in condition.tensors:
            raise bad("cameras", expected=f"one for each picture, for {self.name} is told where they stand", got="none")
        own, time = self.native(level)
        rescale = (own.alpha_t / level.alpha_t).to(z_t).view(-1, 1, 1, 1)
        z = z_t * rescale
        dtype = next(self.net.parameters()).dtype
        tensors = {
            name: t.to(self.device, dtype if t.is_floating_point() else t.dtype)
            for name, t in condition.tensors.items()
        }
        with lending(self.device) if self.resting and torch.is_grad_enabled() else nullcontext():
            out = self.family.predict(self.net, z.to(dtype), time.to(self.device), tensors)[:, : self.channels].to(z)
        if self.prediction == "epsilon":
            return own.x0_from_eps(z, out)
        if self.prediction == "v_prediction":
            return own.x0_from_v(z, out)
        return own.x0_from_flow(z, out) if self.prediction == "flow" else out

    def encode_prompts(self, prompts: Sequence[str]) -> Condition:
        return Condition({name: t.to(self.device) for name, t in self.prompts.encode(list(prompts)).items()})

    @property
    def sighted(self) -> bool:  # type: ignore[override]
        return self.views > 1

    def seen(self, condition: Condition, cameras: Cameras) -> Condition:
        if not self.sighted:
            return super().seen(condition, cameras)
        return Condition({**condition.tensors, "pose": cameras.c2w[:, :3].flatten(1).to(self.device)})

    def unwanted(self, condition: Condition) -> Condition:
        return Condition(self.family.unwanted(condition.tensors))

    def encode(self, rgb: Tensor) -> Tensor:
        return self.latents.encode(rgb) if self.latents else super().encode(scaled(rgb, self.sizes[0]))

    def decode(self, z: Tensor) -> Tensor:
        return self.latents.decode(z) if self.latents else super().decode(z)

    def linear_look(self) -> Tensor:
        return self.latents.linear_look(self.device) if self.latents else super().linear_look()

    def facts(self) -> dict[str, str]:
        checkpoint, prompts = self.prompts.checkpoint, self.prompts
        readers = [name for name in prompts.names if name.startswith("text_encoder")]
        parts = {self.family.net: next(self.net.parameters()).dtype}
        parts |= {"vae": self.latents.dtype} if self.latents else {}
        parts |= dict.fromkeys(readers, prompts.dtype)
        eight = f" in {prompts.options.text_bits} bits" if prompts.options.text_bits else ""
        size = sum(p.numel() for p in self.net.parameters())
        return {
            "kind": f"{checkpoint.kind}: {type(self.net).__name__}, {size:,} parameters",
            "precision": ", ".join(f"{name} {PRECISIONS[dtype]}{eight if name in readers else ''}"
                                   for name, dtype in parts.items()),
            "files": ", ".join(f"{name} {checkpoint.variant(name) or 'plain'}" for name in parts),
        }  # fmt: skip

    @property
    def can_rest(self) -> int:
        compiled, here = self.net._compiled_call_impl is not None, self.device.type == "cpu"
        return 0 if self.resting or compiled or here or not able(self.net) else spared(self.net)

    def rest(self) -> None:
        if size := self.can_rest:
            rest(self.net, self.device)
            self.resting = size

    def to(self, device: torch.device | str) -> DiffusersPrior:
        self.net.to(device)
        self.place = self.net.device
        if self.latents:
            self.latents.vae.to(device)
        return self
