"""Prompts read by a checkpoint's own text encoders, once; they are in memory only while they read."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.errors import bad
from ..options import ModelOptions
from .cache import PromptCache
from .checkpoint import Checkpoint, content
from .families import Family
from .lora import fuse_lora

WITH_T5 = ("IFPipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline")
"""Pipelines whose T5 reads in fp32 where others read in fp16: it overflows."""


class Prompts:
    """Reads prompts with a checkpoint's own text encoders, which are in memory only while they read.

    Where a GPU does not hold them, the CPU reads.

    Raises:
        ScoreliftError: when reading, for a tokenizer that knows no words.
    """

    def __init__(self, checkpoint: Checkpoint, family: Family, options: ModelOptions, device: torch.device,
                 cache: Path | None = None) -> None:  # fmt: skip
        self.checkpoint, self.family, self.options = checkpoint, family, options
        self.device = torch.device("cpu") if options.text_device == "cpu" else device
        self.names = tuple(name for name in family.encoders if checkpoint.names(name))
        self.dtype = torch.float32 if self.device.type == "cpu" else options.dtype(self.device)
        if checkpoint.kind in WITH_T5:
            self.dtype = torch.float32 if self.dtype == torch.float16 else self.dtype
        self.folder = cache
        self.cache = self._cache()

    def _cache(self) -> PromptCache:
        options = self.options
        added = [content(Path(file)) for file in (options.lora, options.textual_inversion) if file]
        changes = "/".join([str(self.dtype), str(options.lora_scale), *added])
        return PromptCache(self.checkpoint.fingerprint(self.names), changes, self.folder)

    def encode(self, prompts: list[str]) -> dict[str, Tensor]:
        """Tensors with one row a prompt."""
        if not self.names:
            return self.family.read(None, prompts)
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.cache]
        if missing and not self._fits(missing):
            self.device, self.dtype = torch.device("cpu"), torch.float32
            self.cache = self._cache()
            gc.collect()
            torch.cuda.empty_cache()
            warnings.warn("the text encoders do not fit the GPU beside the rest: the CPU reads the prompt, which takes "
                          "longer, once. --model.text-device cpu says so from the start", stacklevel=2)  # fmt: skip
            return self.encode(prompts)
        rows = [self.cache[prompt] for prompt in prompts]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _fits(self, prompts: list[str]) -> bool:
        """Read prompts; False if memory ran out."""
        try:
            self._read(prompts)
        except torch.OutOfMemoryError:
            if self.device.type == "cpu":
                raise
            return False
        return True

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
        kind = getattr(diffusers, self.checkpoint.pipeline)
        for name in self.names:
            if name.startswith("text_encoder"):
                self.checkpoint.variant(name)  # refuses pickles
        idle = {
            name: None for name, entry in self.checkpoint.index.items()
            if isinstance(entry, list) and name not in self.names
        }  # fmt: skip
        variant = self.checkpoint.variant(next(n for n in self.names if n.startswith("text_encoder")))
        pipe = kind.from_pretrained(
            str(self.checkpoint.folder), dtype=self.dtype, variant=variant, use_safetensors=True,
            local_files_only=True, **idle,
        ).to(self.device)  # fmt: skip
        if self.options.lora:
            readers = {name: getattr(pipe, name) for name in self.names if name.startswith("text_encoder")}
            fuse_lora(self.checkpoint, self.options, readers)
        if self.options.textual_inversion:
            pipe.load_textual_inversion(self.options.textual_inversion)
        return pipe

    def _check_tokens(self, pipe: Any, prompts: list[str]) -> None:
        tokenizers = {name: getattr(pipe, name) for name in self.names if name.startswith("tokenizer")}
        for name, tokenizer in tokenizers.items():
            if len(tokenizer) < 3:
                raise bad("prior", expected=f"a tokenizer with words in {self.checkpoint.path(name)}",
                          got=f"one with {len(tokenizer)}", remedy="Its download may be incomplete.")  # fmt: skip
        limit = self.family.token_limit or max(t.model_max_length for t in tokenizers.values())
        tokenizer = list(tokenizers.values())[-1]
        for prompt in prompts:
            ids = tokenizer(prompt, add_special_tokens=True)["input_ids"]
            if len(ids) > limit:
                cut = tokenizer.decode(ids[limit - 1 : -1])
                warnings.warn(f"the prompt has {len(ids)} tokens, {limit} are read; cut: {cut!r}", stacklevel=2)
