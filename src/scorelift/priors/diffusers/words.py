"""What a checkpoint's tokenizers know: words, too many of them in a prompt, and a token that was learned."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from ...core.errors import ScoreliftError, bad
from .checkpoint import Checkpoint
from .lora import WRONG

OPTION = "model.textual_inversion"
OF_SDXL = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""Names in a file that holds a token for both of SDXL's text encoders, and the encoders they are for."""


def check_words(
    checkpoint: Checkpoint, tokenizers: dict[str, Any], prompts: list[str], last_limit: int | None, pipe: Any = None
) -> dict[str, list[str]]:
    """Raise for a tokenizer that knows no words; say what is cut from each prompt.

    Args:
        tokenizers: by the name of their component.
        last_limit: tokens that are read of the last one's; None: as many as it says, which holds for the others.
        pipe: the pipeline, where it knows learned tokens that are several to a tokenizer.

    Returns:
        For each prompt a sentence a limit that it is beyond.

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
    found, learned = {}, hasattr(pipe, "maybe_convert_prompt")
    for prompt in prompts:
        cut: dict[int, str] = {}
        for name, limit in limits.items():
            said = pipe.maybe_convert_prompt(prompt, tokenizers[name]) if learned else prompt
            ids = tokenizers[name](said, add_special_tokens=True)["input_ids"]
            if len(ids) > limit and limit not in cut:
                reader = f" by {name.replace('tokenizer', 'text_encoder')}" if len(set(limits.values())) > 1 else ""
                cut[limit] = (f"the prompt has {len(ids)} tokens, {limit} are read{reader}; cut: "
                              f"{tokenizers[name].decode(ids[limit - 1 : -1])!r}")  # fmt: skip
        found[prompt] = list(cut.values())
    return found


def check_adds_tokens(checkpoint: Checkpoint, file: str) -> None:
    """Raise for a model that diffusers adds no learned tokens to.

    Raises:
        ScoreliftError: if it is one.
    """
    import diffusers

    if not hasattr(getattr(diffusers, checkpoint.pipeline), "load_textual_inversion"):
        raise bad(OPTION, expected=f"none, for diffusers adds none to a {checkpoint.pipeline}", got=file)


def add_token(pipe: Any, encoders: Sequence[str], file: Path) -> None:
    """Add the token that a file holds to the text encoders it is for, and to their tokenizers.

    Args:
        encoders: the pipeline's own, in order.
        file: with one tensor, named as the token; or for SDXL with clip_l and clip_g, for a token of the file's name.

    Raises:
        ScoreliftError: if the file holds none, or one for another model.
    """
    try:
        given = _given(pipe, encoders, file)
        for encoder, (token, numbers) in given.items():
            if numbers.shape[-1] != _width(pipe, encoder):
                raise bad(OPTION, expected=f"{_width(pipe, encoder)} numbers for a token, as the {encoder} has",
                          got=numbers.shape[-1], remedy=f"{file} is for another model.")  # fmt: skip
            tokenizer = getattr(pipe, encoder.replace("text_encoder", "tokenizer"))
            pipe.load_textual_inversion({token: numbers}, token, tokenizer, getattr(pipe, encoder))
    except WRONG as error:
        raise ScoreliftError(f"{OPTION}: {file} cannot be read ({' '.join(str(error).split())[:300]}).") from error
    for encoder in encoders:
        if encoder not in given:
            warnings.warn(f"{OPTION}: {file} holds nothing for the {encoder}, which reads the token as any letters; "
                          f"the {' and '.join(given)} alone knows it", stacklevel=2)  # fmt: skip


def _given(pipe: Any, encoders: Sequence[str], file: Path) -> dict[str, tuple[str, Tensor]]:
    """A token's name and numbers, by the text encoder they are for."""
    learned = load_file(file)
    told = f"{file} with {', '.join(sorted(learned)[:4]) or 'none'}"
    if learned.keys() & OF_SDXL.keys():
        given = {OF_SDXL.get(name, name): (file.stem, numbers) for name, numbers in learned.items()}
        found = {encoder: given[encoder] for encoder in encoders if encoder in given}
        if not found or (len(given) > 1 and "text_encoder_2" not in encoders):
            raise bad(OPTION, expected=f"a token for a {' and a '.join(encoders)}", got=told,
                      remedy="clip_l is for the first text encoder, clip_g for SDXL's second.")  # fmt: skip
        return found
    if len(learned) != 1:
        raise bad(OPTION, expected="one token, or clip_l and clip_g of one", got=told)
    ((name, numbers),) = learned.items()
    fitting = [encoder for encoder in encoders if _width(pipe, encoder) == numbers.shape[-1]]
    token = file.stem if name == "emb_params" else name  # which other tools do not name
    return {(fitting or encoders)[0]: (token, numbers)}


def _width(pipe: Any, encoder: str) -> int:
    return getattr(pipe, encoder).get_input_embeddings().weight.shape[-1]
