"""Prompts read by a checkpoint's own text encoders, once; they are in memory only while they read."""

from __future__ import annotations

import gc
import warnings
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...core.errors import ScoreliftError, bad
from ...core.memory import free_bytes, memory_errors
from ..added import lora_files, token_file
from ..options import ModelOptions
from .cache import PromptCache
from .checkpoint import Checkpoint, content, tensor_shapes
from .eight import shrink
from .families import Family
from .lora import WRONG, fuse_lora
from .words import add_token, check_adds_tokens, check_words

WITH_T5 = ("IFPipeline", "PixArtAlphaPipeline", "PixArtSigmaPipeline")
"""Pipelines whose T5 reads in fp32 where others read in fp16: it overflows."""


class Prompts:
    """Reads prompts with a checkpoint's own text encoders, which are in memory only while they read.

    Where a GPU does not hold them, the CPU reads.

    Raises:
        ScoreliftError: for text encoders without weights or of pickles; when reading, for a tokenizer that knows no
            words.
    """

    def __init__(self, checkpoint: Checkpoint, family: Family, options: ModelOptions, device: torch.device,
                 cache: Path | None = None) -> None:  # fmt: skip
        self.checkpoint, self.family, self.options = checkpoint, family, options
        self.device = torch.device("cpu") if options.text_device == "cpu" else device
        self.names = family.readers(checkpoint)
        for name in self.names:
            if name.startswith("text_encoder"):
                checkpoint.variant(name)
        if options.tokens():
            check_adds_tokens(checkpoint, options.tokens()[0])
        here = self.device.type == "cpu" and options.precision != "bf16"
        self.dtype = torch.float32 if here else options.dtype(self.device)
        if checkpoint.kind in WITH_T5:
            self.dtype = torch.float32 if self.dtype == torch.float16 else self.dtype
        self.folder = cache
        self.cache = self._cache(self.dtype)
        self.spare = self._cache(torch.float32)
        "What the CPU read, here or in an earlier run."

    def _cache(self, dtype: torch.dtype) -> PromptCache:
        options = self.options
        loras = [f"{scale} of {content(file)}" for path, scale in options.loras() for file in lora_files(path)]
        tokens = [f"token {content(token_file(path))}" for path in options.tokens()]
        bits = [f"{options.text_bits} bits"] if options.text_bits else []
        changes = "/".join([str(dtype), *loras, *tokens, *bits])
        return PromptCache(self.checkpoint.fingerprint(self.names), changes, self.folder)

    def encode(self, prompts: list[str]) -> dict[str, Tensor]:
        """Tensors with one row a prompt."""
        if not self.names:
            return self.family.read(None, prompts)
        missing = [p for p in dict.fromkeys(prompts) if p not in self.cache and p not in self.spare]
        if missing and self.device.type == "cpu":
            self._spare_memory()
        if missing and not self._fits(missing):
            self.device, self.dtype, self.cache = torch.device("cpu"), torch.float32, self.spare
            gc.collect()
            torch.cuda.empty_cache()
            warnings.warn("the text encoders do not fit the GPU beside the rest: the CPU reads the prompt, which takes "
                          "longer, once. --model.text-device cpu says so from the start", stacklevel=2)  # fmt: skip
            return self.encode(prompts)
        caches = {prompt: self.cache if prompt in self.cache else self.spare for prompt in dict.fromkeys(prompts)}
        for text in dict.fromkeys(text for prompt, cache in caches.items() for text in cache.cut[prompt]):
            warnings.warn(text, stacklevel=2)
        rows = [caches[prompt][prompt] for prompt in prompts]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}

    def _spare_memory(self) -> None:
        """Let the CPU read in bf16, in half of the memory, where that is short for fp32."""
        encoders = [name for name in self.names if name.startswith("text_encoder")]
        files = [file for name in encoders for file in self.checkpoint.weights(name)]
        need = 4 * sum(prod(shape) for file in files for shape in tensor_shapes(file).values())
        free = free_bytes()
        if free is None or need <= free or self.options.text_bits or self.dtype != torch.float32:
            return
        self.dtype, self.cache = torch.bfloat16, self._cache(torch.bfloat16)
        warnings.warn(f"the text encoders take {need / 2**30:.1f} GiB in fp32, {free / 2**30:.1f} are free: they read "
                      "in bf16, in half of that. --model.text-bits 8 takes less still", stacklevel=3)  # fmt: skip

    def _fits(self, prompts: list[str]) -> bool:
        """Read prompts; False if memory ran out."""
        try:
            with memory_errors():
                self._read(prompts)
        except torch.OutOfMemoryError:
            if self.device.type == "cpu":
                raise
            return False
        return True

    @torch.no_grad()
    def _read(self, prompts: list[str]) -> None:
        pipe = self._pipeline()
        tokenizers = {name: getattr(pipe, name) for name in self.names if name.startswith("tokenizer")}
        cut = check_words(self.checkpoint, tokenizers, prompts, self.family.token_limit, pipe)
        for prompt in prompts:  # one by one: T5-XXL takes its memory once
            tensors = self.family.read(pipe, [prompt])
            found = {name: t[0].float().cpu().contiguous() for name, t in tensors.items()}
            self.cache.keep(prompt, found, cut[prompt])
        del pipe
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _pipeline(self) -> Any:
        """The pipeline with nothing but what reads."""
        import diffusers
        import transformers

        transformers.utils.logging.disable_progress_bar()
        kind, encoders = getattr(diffusers, self.checkpoint.pipeline), [n for n in self.names if n.startswith("text")]
        idle = {
            name: None for name, entry in self.checkpoint.index.items()
            if name not in self.names and (isinstance(entry, list) or name in self.family.encoders)
        }  # fmt: skip
        # On the way to eight bits half precision rounds less than they do, and the CPU need not hold T5 in fp32.
        dtype = torch.float16 if self.options.text_bits and self.dtype == torch.float32 else self.dtype
        try:
            read = {name: self._encoder(name, dtype) for name in encoders}
            pipe = kind.from_pretrained(str(self.checkpoint.folder), local_files_only=True, **idle, **read)
        except torch.OutOfMemoryError:
            raise
        except (*WRONG, ImportError) as error:
            raise ScoreliftError(
                f"prior: {', '.join(self.names)} in {self.checkpoint.folder} cannot be loaded "
                f"({' '.join(str(error).split())[:300]}). The download may be incomplete."
            ) from error
        if self.options.loras():
            fuse_lora(self.checkpoint, self.options, {name: getattr(pipe, name) for name in encoders})
        for path in self.options.tokens():
            add_token(pipe, encoders, token_file(path))
        if self.options.text_bits:
            for name in encoders:
                shrink(getattr(pipe, name), self.dtype)
        return pipe.to(self.device)

    def _encoder(self, name: str, dtype: torch.dtype) -> Any:
        """One text encoder, with all of its weights, of whatever variant there is."""
        import transformers

        library, kind = self.checkpoint.names(name) or ("", "none")
        if library != "transformers" or (found := getattr(transformers, kind, None)) is None:
            raise bad("prior", expected=f"a text encoder of transformers as its {name}", got=f"{library} {kind}")
        encoder, told = found.from_pretrained(
            str(self.checkpoint.path(name)), dtype=dtype, variant=self.checkpoint.variant(name), use_safetensors=True,
            local_files_only=True, output_loading_info=True,
        )  # fmt: skip
        self.checkpoint.check_whole(name, told)
        return encoder.eval()
