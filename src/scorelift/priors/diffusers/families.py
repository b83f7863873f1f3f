"""What differs from one class of pipeline to another: how prompts become tensors, and how the network is called.

Encoding is left to the pipelines themselves (`encode_prompt`), loaded without their networks.
"""

from __future__ import annotations

import re
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from difflib import get_close_matches
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ...core.errors import bad
from .checkpoint import Checkpoint, number, side, vae_factor
from .multiview import VIEWS, camera_numbers

Tensors = dict[str, Tensor]
WHOLE = "Take a copy of the model that was saved whole."

AESTHETIC, NEGATIVE_AESTHETIC = 6.0, 2.5
"""The refiner's scores of pictures as they are wanted and as they are not, as its pipeline has them."""


class Family(ABC):
    """One class of pipeline."""

    net = "unet"
    encoders: tuple[str, ...] = ("text_encoder", "tokenizer")
    "Components that read prompts; none where a prompt is no more than a name."
    optional: tuple[str, ...] = ()
    "Of those, what a checkpoint may lack."
    latent = True
    "Whether it works in the space of an autoencoder."
    token_limit: int | None = None
    "Tokens the encoders read; None: as many as the tokenizer says."
    views: int = 1
    "Pictures it sees together."
    guidance: float | None = None
    "Of score distillation in its public implementations, if it has one of its own."
    trained_until = 1.0
    "Share of the times, from no noise on, that it was trained on."

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.kind = checkpoint.kind

    @classmethod
    def readers(cls, checkpoint: Checkpoint) -> tuple[str, ...]:
        """The text encoders that a checkpoint has with their tokenizers, and those."""
        pairs = [(name, name.replace("text_encoder", "tokenizer")) for name in cls.encoders if name.startswith("text")]
        return tuple(name for pair in pairs if all(map(checkpoint.names, pair)) for name in pair)

    def read(self, pipe: Any, prompts: Sequence[str]) -> Tensors:
        """Prompts as tensors, one row each."""
        raise NotImplementedError

    def unwanted(self, t: Tensors) -> Tensors:
        """Prompts as guidance leads away from them."""
        return t

    @abstractmethod
    def predict(self, net: Any, z: Tensor, time: Tensor, t: Tensors) -> Tensor:
        """The network's output, whatever it predicts."""


class Diffusion(Family):
    """Stable Diffusion 1 and 2: one CLIP text encoder."""

    def read(self, pipe: Any, prompts: Sequence[str]) -> Tensors:
        return {"tokens": pipe.encode_prompt(list(prompts), pipe.text_encoder.device, 1, False)[0]}

    def predict(self, net: Any, z: Tensor, time: Tensor, t: Tensors) -> Tensor:
        return net(z, time, encoder_hidden_states=t["tokens"]).sample


class MultiView(Diffusion):
    """MVDream: Stable Diffusion 2.1 for four views of one object, told their cameras."""

    views = VIEWS
    guidance = 50.0

    def predict(self, net: Any, z: Tensor, time: Tensor, t: Tensors) -> Tensor:
        return net(z, time, encoder_hidden_states=t["tokens"], class_labels=camera_numbers(t["pose"])).sample


class DiffusionXL(Family):
    """SDXL and its refiner: pooled text and picture sizes beside the tokens; the refiner an aesthetic score."""

    encoders = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2")
    optional = ("text_encoder", "tokenizer")

    def __init__(self, checkpoint: Checkpoint) -> None:
        unet, index = checkpoint.config("unet"), checkpoint.index
        self.zero_empty = bool(index.get("force_zeros_for_empty_prompt", True))
        self.score = bool(index.get("requires_aesthetics_score", False))
        self.trained_until = 0.2 if self.score else 1.0  # the refiner: the last 200 of 1,000 steps (SDXL, Sec. 2.5)
        edge = float(side(unet, "unet") * vae_factor(checkpoint.config("vae")))
        self.sizes = [edge, edge, 0.0, 0.0] + ([] if self.score else [edge, edge])
        pooled = number(checkpoint.config("text_encoder_2"), "text_encoder_2", "projection_dim")
        told, each = unet.get("projection_class_embeddings_input_dim") or 0, unet.get("addition_time_embed_dim") or 0
        if not each or told != pooled + (len(self.sizes) + self.score) * each:
            raise bad("prior", expected=f"a network for {len(self.sizes) + self.score} sizes and scores",
                      got=f"one for {told} numbers, {pooled} of them text, the others {each} each",
                      remedy="See requires_aesthetics_score in model_index.json.")  # fmt: skip
        readers = [name for name in self.readers(checkpoint) if name.startswith("text_encoder")]
        width = sum(checkpoint.config(name).get("hidden_size", 512) for name in readers)
        if width != (wanted := number(unet, "unet", "cross_attention_dim")):
            raise bad("prior", expected=f"text encoders of {wanted} numbers a token",
                      got=f"{' and '.join(readers)} of {width}", remedy=WHOLE)  # fmt: skip

    def read(self, pipe: Any, prompts: Sequence[str]) -> Tensors:
        tokens, _, pooled, _ = pipe.encode_prompt(
            list(prompts), device=pipe.text_encoder_2.device, do_classifier_free_guidance=False
        )
        empty = torch.tensor([not prompt for prompt in prompts], device=tokens.device)
        if self.zero_empty:
            tokens, pooled = tokens * ~empty[:, None, None], pooled * ~empty[:, None]
        scores = [[NEGATIVE_AESTHETIC if not prompt else AESTHETIC] if self.score else [] for prompt in prompts]
        sizes = torch.tensor([self.sizes + score for score in scores], device=tokens.device)
        return {"tokens": tokens, "pooled": pooled, "sizes": sizes}

    def unwanted(self, t: Tensors) -> Tensors:
        if not self.score:
            return t
        score = torch.full_like(t["sizes"][:, :1], NEGATIVE_AESTHETIC)
        return {**t, "sizes": torch.cat([t["sizes"][:, :-1], score], 1)}

    def predict(self, net: Any, z: Tensor, time: Tensor, t: Tensors) -> Tensor:
        added = {"text_embeds": t["pooled"], "time_ids": t["sizes"]}
        return net(z, time, encoder_hidden_states=t["tokens"], added_cond_kwargs=added).sample


class DeepFloyd(Diffusion):
    """DeepFloyd IF, stage I: pixels, T5, and a variance that nobody needs here."""

    token_limit = 77
    latent = False
    guidance = 20.0

    def read(self, pipe: Any, prompts: Sequence[str]) -> Tensors:
        return {"tokens": pipe.encode_prompt(list(prompts), False, device=pipe.text_encoder.device)[0]}


class DiffusionThree(Family):
    """Stable Diffusion 3 and 3.5: flow matching in a transformer, two CLIP encoders and T5."""

    net = "transformer"
    encoders = ("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2", "text_encoder_3", "tokenizer_3")
    optional = ("text_encoder_3", "tokenizer_3")
    t5_tokens = 256

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.token_limit = self.t5_tokens if "text_encoder_3" in self.readers(checkpoint) else None
        self.width = checkpoint.config("transformer").get("joint_attention_dim", 4096)

    def read(self, pipe: Any, prompts: Sequence[str]) -> Tensors:
        if pipe.text_encoder_3 is None:  # zeros in T5's place, whose width the pipeline asks of its network
            pipe.transformer = SimpleNamespace(config=SimpleNamespace(joint_attention_dim=self.width))
        tokens, _, pooled, _ = pipe.encode_prompt(
            list(prompts), None, None, device=pipe.text_encoder.device, do_classifier_free_guidance=False,
            max_sequence_length=self.t5_tokens,
        )  # fmt: skip
        return {"tokens": tokens, "pooled": pooled}

    def predict(self, net: Any, z: Tensor, time: Tensor, t: Tensors) -> Tensor:
        return net(z, timestep=time, encoder_hidden_states=t["tokens"], pooled_projections=t["pooled"]).sample


class PixArt(Family):
    """PixArt-alpha and -Sigma: epsilon in a transformer, T5."""

    net = "transformer"

    def __init__(self, checkpoint: Checkpoint) -> None:
        net = checkpoint.config("transformer")
        self.token_limit = 300 if "Sigma" in checkpoint.kind else 120
        sizes = net.get("use_additional_conditions")
        self.sizes = side(net, "transformer") == 128 if sizes is None else bool(sizes)
        self.side = float(side(net, "transformer") * vae_factor(checkpoint.config("vae")))

    def read(self, pipe: Any, prompts: Sequence[str]) -> Tensors:
        tokens, mask, _, _ = pipe.encode_prompt(
            list(prompts), False, device=pipe.text_encoder.device, max_sequence_length=self.token_limit
        )
        return {"tokens": tokens, "mask": mask.float()}

    def predict(self, net: Any, z: Tensor, time: Tensor, t: Tensors) -> Tensor:
        added: dict[str, Tensor | None] = {"resolution": None, "aspect_ratio": None}
        if self.sizes:
            edge = torch.full((len(z), 1), self.side, device=z.device, dtype=z.dtype)
            added = {"resolution": edge.expand(-1, 2), "aspect_ratio": torch.ones_like(edge)}
        return net(
            z, encoder_hidden_states=t["tokens"], encoder_attention_mask=t["mask"], timestep=time,
            added_cond_kwargs=added,
        ).sample  # fmt: skip


class Unconditional(Family):
    """A model of pictures alone: DDPM, as the faces and bedrooms of SJC's Figure 4."""

    encoders = ()
    latent = False

    def read(self, pipe: None, prompts: Sequence[str]) -> Tensors:
        if any(prompts):
            warnings.warn(f"{self.kind} reads no prompts: {prompts[-1]!r} has no effect", stacklevel=2)
        return {"none": torch.zeros(len(prompts), 1)}

    def predict(self, net: Any, z: Tensor, time: Tensor, t: Tensors) -> Tensor:
        return net(z, time).sample


class ClassConditional(Family):
    """DiT: classes instead of prompts. A prompt means the class whose name it contains, the empty one none of them."""

    net = "transformer"
    encoders = ()

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.nothing = number(checkpoint.config("transformer"), "transformer", "num_embeds_ada_norm")
        names = checkpoint.index.get("id2label") or {}
        self.labels = {name.strip().lower(): int(i) for i, text in names.items() for name in text.split(",")}
        if not self.labels:
            raise bad("prior", expected="names of classes (id2label) in model_index.json", got="none")

    def read(self, pipe: None, prompts: Sequence[str]) -> Tensors:
        return {"label": torch.tensor([self._label(prompt.lower()) for prompt in prompts])}

    def _label(self, prompt: str) -> int:
        if not prompt:
            return self.nothing
        said = [name for name in self.labels if re.search(rf"\b{re.escape(name)}\b", prompt)]
        if not said:
            near = get_close_matches(prompt, self.labels, n=3, cutoff=0.4)
            raise bad("prompt", expected=f"one of the {len(self.labels)} names of classes in it", got=prompt,
                      remedy=f"Near: {', '.join(near)}." if near else "")  # fmt: skip
        return self.labels[max(said, key=len)]

    def predict(self, net: Any, z: Tensor, time: Tensor, t: Tensors) -> Tensor:
        return net(z, timestep=time, class_labels=t["label"]).sample
