"""What a checkpoint's tokenizers know: words, too many of them in a prompt, and a token that was learned."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from ...core.errors import ScoreliftError, bad
from .checkpoint import Checkpoint
from .lora import WRONG

OPTION = "model.textual_inversion"


def check_words(checkpoint: Checkpoint, tokenizers: dict[str, Any], prompts: list[str], last_limit: int | None) -> None:
    """Raise for a tokenizer that knows no words; warn of what is cut from a prompt.

    Args:
        tokenizers: by the name of their component.
        last_limit: tokens that are read of the last one's; None: as many as it says, which holds for the others.

    Raises:
        ScoreliftError: for a tokenizer without words.
    """
    limits = {}
    for name, tokenizer in tokenizers.items():
        words = tokenizer.get_vocab().keys() - tokenizer.get_added_vocab().keys() - set(tokenizer.all_special_tokens)
        if len(words) < 3:  # one made of no files has the sign for a space
            raise bad("prior", expected=f"a tokenizer with words in {checkpoint.path(name)}",
                      got=f"one with {len(words)}", remedy="Its download may be incomplete.")  # fmt: skip
        limits[name] = last_limit if last_limit and name == list(tokenizers)[-1] else tokenizer.model_max_length
    for prompt in prompts:
        cut: dict[int, str] = {}
        for name, limit in limits.items():
            ids = tokenizers[name](prompt, add_special_tokens=True)["input_ids"]
            if len(ids) > limit and limit not in cut:
                reader = f" by {name.replace('tokenizer', 'text_encoder')}" if len(set(limits.values())) > 1 else ""
                cut[limit] = (f"the prompt has {len(ids)} tokens, {limit} are read{reader}; cut: "
                              f"{tokenizers[name].decode(ids[limit - 1 : -1])!r}")  # fmt: skip
        for text in cut.values():
            warnings.warn(text, stacklevel=2)


def check_adds_tokens(checkpoint: Checkpoint, file: str) -> None:
    """Raise for a model that diffusers adds no learned tokens to.

    Raises:
        ScoreliftError: if it is one.
    """
    import diffusers

    if not hasattr(getattr(diffusers, checkpoint.pipeline), "load_textual_inversion"):
        raise bad(OPTION, expected=f"none, for diffusers adds none to a {checkpoint.pipeline}", got=file)


def add_token(pipe: Any, encoder: str, file: Path) -> None:
    """Add the token that a file holds to a text encoder and its tokenizer.

    Raises:
        ScoreliftError: if the file holds none, one for two text encoders, or one for another model.
    """
    net = getattr(pipe, encoder)
    try:
        learned = load_file(file)
        if len(learned) != 1:
            raise bad(OPTION, expected="one token", got=f"{file} with {', '.join(sorted(learned)[:4]) or 'none'}",
                      remedy="Files for two text encoders (clip_g and clip_l) are not read.")  # fmt: skip
        (name, numbers), width = *learned.items(), net.get_input_embeddings().weight.shape[-1]
        if numbers.shape[-1] != width:
            raise bad(OPTION, expected=f"{width} numbers for a token, as the {encoder} has", got=numbers.shape[-1],
                      remedy=f"{file} is for another model.")  # fmt: skip
        token = file.stem if name == "emb_params" else None  # which other tools do not name
        tokenizer = getattr(pipe, encoder.replace("text_encoder", "tokenizer"))
        pipe.load_textual_inversion(str(file), token, tokenizer, net, use_safetensors=True)
    except WRONG as error:
        raise ScoreliftError(f"{OPTION}: {file} cannot be read ({' '.join(str(error).split())[:300]}).") from error
