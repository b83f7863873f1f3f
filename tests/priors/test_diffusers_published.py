"""Files as the models' authors published them, years ago: names and layouts that nothing saves any more."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file

from scorelift.core.diffusion import Level
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.registry import sketch_prior

ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Names of an attention's layers, in autoencoders and DDPMs, now and then."""
EXTRA = [f"<extra_id_{i}>" for i in range(10)]
T5_WORDS = {"additional_special_tokens": EXTRA, "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}


@pytest.fixture
def copied(checkpoints, tmp_path):
    """A copy of a checkpoint, to be written anew."""
    return lambda kind: shutil.copytree(checkpoints[kind], tmp_path / kind)


def renamed(folder, rename, more=None):
    """Write the weights of a component under other names."""
    (file,) = folder.glob("*.safetensors")
    state = {rename(name): t for name, t in load_file(file).items()}
    assert state.keys() != load_file(file).keys()
    save_file(state | (more or {}), file, {"format": "pt"})


def then(name):
    """The old name of a weight."""
    if ".attentions." in name:
        for now, before in ATTENTION.items():
            name = name.replace(f".{now}.", f".{before}.")
    return name


def edit(file, **changes):
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def said(prior):
    """What a prior says of noise and a prompt, and what its space makes of a picture."""
    z = torch.randn(1, prior.channels, *prior.sizes * 2, generator=torch.Generator().manual_seed(1))
    rgb = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(2))
    x0 = prior.predict_x0(z, Level.vp(torch.tensor([1.0])), prior.encode_prompts(["a duck"]))
    return x0, prior.encode(rgb), prior.decode(z)


def as_now(folder, checkpoints, cache):
    """Hold a rewritten checkpoint to what it was."""
    found, wanted = (load_diffusers(place, cache=cache) for place in (folder, checkpoints[folder.name]))
    for old, new in zip(said(found), said(wanted), strict=True):
        assert torch.equal(old, new)
    shapes = [{name: t.shape for name, t in prior.net.state_dict().items()}
              for prior in (found, sketch_prior(str(folder))[0])]  # fmt: skip
    assert shapes[0] == shapes[1]


def test_stable_diffusion(copied, checkpoints, tmp_path):
    """The text encoder's prefix and its positions, old names in the autoencoder, a tokenizer of two files."""
    folder = copied("sd15")
    renamed(folder / "text_encoder", lambda name: f"text_model.{name.removeprefix('text_model.')}",
            {"text_model.embeddings.position_ids": torch.arange(77)[None]})  # fmt: skip
    renamed(folder / "vae", then)
    words = folder / "tokenizer"
    (words / "vocab.json").write_text(json.dumps(json.loads((words / "tokenizer.json").read_text())["model"]["vocab"]))
    (words / "merges.txt").write_text("#version: 0.2\n")
    (words / "tokenizer.json").unlink()
    signs = {name: {"__type": "AddedToken", "content": f"<|{text}|>", "lstrip": False, "normalized": True,
                    "rstrip": False, "single_word": False}
             for name, text in (("bos_token", "startoftext"), ("eos_token", "endoftext"), ("unk_token", "endoftext"))
             }  # fmt: skip
    known = {"add_prefix_space": False, "do_lower_case": True, "errors": "replace", "model_max_length": 77,
             "pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer"}  # fmt: skip
    (words / "tokenizer_config.json").write_text(json.dumps(known | signs))
    as_now(folder, checkpoints, tmp_path / "cache")


@pytest.mark.filterwarnings("ignore:.* reads no prompts")
def test_a_model_of_pictures_alone(copied, checkpoints, tmp_path):
    folder = copied("ddpm")
    renamed(folder / "unet", then)
    as_now(folder, checkpoints, tmp_path / "cache")


@pytest.mark.parametrize(("kind", "norm"), [("pixart", "ada_norm_single"), ("dit", "ada_norm_zero")])
def test_transformers_of_one_class(kind, norm, copied, checkpoints, tmp_path):
    """PixArt's and DiT's were one, which their norm told apart."""
    folder = copied(kind)
    edit(folder / "model_index.json", transformer=["diffusers", "Transformer2DModel"])
    edit(folder / "transformer" / "config.json", _class_name="Transformer2DModel", norm_type=norm,
         attention_type="default", double_self_attention=False, num_vector_embeds=None, only_cross_attention=False,
         use_linear_projection=False)  # fmt: skip
    as_now(folder, checkpoints, tmp_path / "cache")


def test_a_tokenizer_of_sentencepiece(copied, tmp_path):
    pieces = pytest.importorskip("sentencepiece")
    folder, corpus = copied("if"), tmp_path / "corpus.txt"
    corpus.write_text(
        "a red duck of the mushroom\nfront view of a duck, side view\na mushroom with spots, back view\n" * 30
    )
    pieces.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(tmp_path / "spiece"), vocab_size=50, pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, model_type="unigram", hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    words = folder / "tokenizer"
    for file in words.iterdir():
        file.unlink()
    shutil.copy(tmp_path / "spiece.model", words)
    known = {"extra_ids": 10, "model_max_length": 512, "sp_model_kwargs": {}, "tokenizer_class": "T5Tokenizer"}
    (words / "tokenizer_config.json").write_text(json.dumps(known | T5_WORDS))
    (words / "special_tokens_map.json").write_text(json.dumps(T5_WORDS))
    prior = load_diffusers(folder, cache=tmp_path / "cache")
    tokenizer, own = prior.prompts._pipeline().tokenizer, pieces.SentencePieceProcessor(str(words / "spiece.model"))
    for prompt in ("a red duck, front view", "A Mushroom   with spots"):
        assert tokenizer(prompt)["input_ids"] == [*own.encode(prompt), 1]
    assert prior.encode_prompts(["a duck"]).tensors["tokens"].any()
