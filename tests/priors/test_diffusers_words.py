"""What tokenizers know, by the real classes: none of the words, too many of them, one that was learned."""

from __future__ import annotations

import json
import logging
import shlex
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace

import pytest
import torch

pytest.importorskip("diffusers")

from diffusers import StableDiffusionXLPipeline
from safetensors.torch import save_file
from tiny import clip_tokenizer, t5_tokenizer
from transformers import CLIPTokenizer, T5Tokenizer

from scorelift.core.errors import ScoreliftError
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.checkpoint import Checkpoint
from scorelift.priors.diffusers.prompts import Prompts
from scorelift.priors.diffusers.words import check_words
from scorelift.priors.options import ModelOptions

EMPTY = {
    "clip": CLIPTokenizer,
    "clip that pads with !": lambda: CLIPTokenizer(pad_token="!"),
    "t5": T5Tokenizer,
    "t5 without extra ids": lambda: T5Tokenizer(extra_ids=0),
}


@pytest.mark.parametrize("kind", EMPTY)
def test_a_tokenizer_made_of_no_files_knows_no_words(kind, checkpoints):
    with pytest.raises(ScoreliftError, match=r"a tokenizer with words in .*, got 'one with [01]'"):
        check_words(Checkpoint.open(checkpoints["sd15"]), {"tokenizer": EMPTY[kind]()}, ["a duck"], None)


def test_tokenizers_with_words_are_taken(checkpoints, tmp_path):
    both = {"tokenizer": clip_tokenizer(tmp_path), "tokenizer_2": t5_tokenizer()}
    check_words(Checkpoint.open(checkpoints["sd15"]), both, ["a duck"], None)


@pytest.mark.parametrize("kind", ["sd15", "if"])
def test_a_checkpoint_whose_tokenizer_lost_its_files_is_refused(kind, checkpoints, tmp_path):
    folder = shutil.copytree(checkpoints[kind], tmp_path / "copy")
    (folder / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ScoreliftError, match="a tokenizer with words"):
        load_diffusers(folder, cache=tmp_path).encode_prompts(["a duck"])


def test_each_encoder_says_what_it_cuts(checkpoints, tmp_path):
    """CLIP and T5 do not read equally far."""
    prior = load_diffusers(checkpoints["sd3"], cache=tmp_path)
    with pytest.warns(UserWarning) as caught:  # noqa: PT030
        prior.encode_prompts(["a duck " * 30 + "zebra"])
    cut = [str(w.message) for w in caught if "are read" in str(w.message)]
    assert len(cut) == 1
    assert "77 are read by text_encoder; cut" in cut[0]
    with pytest.warns(UserWarning) as caught:  # noqa: PT030
        prior.encode_prompts(["a duck " * 200 + "zebra"])
    cut = [str(w.message) for w in caught if "are read" in str(w.message)]
    assert ["77 are read by text_encoder;" in text for text in cut] == [True, False]
    assert "256 are read by text_encoder_3;" in cut[1]
    with pytest.warns(UserWarning, match="77 are read by text_encoder; cut"):  # what was kept says so again
        load_diffusers(checkpoints["sd3"], cache=tmp_path).encode_prompts(["a duck " * 30 + "zebra"])


def token(folder, tensors, name="thing.safetensors"):
    save_file(tensors, folder / name)
    return ModelOptions(textual_inversion=str(folder / name))


@pytest.mark.parametrize("kind", ["sd3", "if", "pixart", "dit"])
def test_models_without_learned_tokens_say_so(kind, checkpoints, tmp_path):
    options = token(tmp_path, {"<thing>": torch.zeros(1, 32)})
    with pytest.raises(ScoreliftError, match=r"model\.textual_inversion: expected none, for diffusers adds none to a"):
        load_diffusers(checkpoints[kind], options=options)


@pytest.mark.parametrize(
    ("kind", "widths", "match"),
    [("sd15", {"clip_l": 32, "clip_g": 32}, "a token for a text_encoder, got .*clip_g, clip_l"),
     ("refiner", {"clip_l": 32}, "a token for a text_encoder_2, got .*clip_l"),
     ("sdxl", {"clip_l": 32, "clip_g": 24}, "as the text_encoder_2 has, got 24"),
     ("sdxl", {"one": 32, "two": 32}, "expected one token, or clip_l and clip_g of one"),
     ("sdxl", {"<thing>": 24}, "expected 32 numbers for a token.*got 24.*for another model")],
)  # fmt: skip
def test_a_token_for_another_model_is_refused(kind, widths, match, checkpoints, tmp_path):
    options = token(tmp_path, {name: torch.zeros(1, width) for name, width in widths.items()})
    prior = load_diffusers(checkpoints[kind], options=options, cache=tmp_path)
    with pytest.raises(ScoreliftError, match=match):
        prior.encode_prompts(["a <thing>"])


@pytest.mark.parametrize("vectors", [1, 3])
def test_a_token_for_two_text_encoders(vectors, checkpoints, tmp_path):
    """As diffusers' own loader adds it, one text encoder after the other."""
    numbers = {name: 5 * torch.randn(vectors, 32) for name in ("clip_l", "clip_g")}
    found = load_diffusers(checkpoints["sdxl"], options=token(tmp_path, numbers), cache=tmp_path / "cache")
    pipe = StableDiffusionXLPipeline.from_pretrained(checkpoints["sdxl"], local_files_only=True)
    pipe.load_textual_inversion(numbers["clip_l"], "thing", pipe.tokenizer, pipe.text_encoder)
    pipe.load_textual_inversion(numbers["clip_g"], "thing", pipe.tokenizer_2, pipe.text_encoder_2)
    wanted, _, pooled, _ = pipe.encode_prompt("a red thing", device="cpu", do_classifier_free_guidance=False)
    said = found.encode_prompts(["a red thing"]).tensors
    torch.testing.assert_close(said["tokens"], wanted)
    torch.testing.assert_close(said["pooled"], pooled)
    without = load_diffusers(checkpoints["sdxl"], cache=tmp_path / "cache").encode_prompts(["a red thing"]).tensors
    for half in (slice(0, 32), slice(32, 64)):
        assert not torch.allclose(said["tokens"][..., half], without["tokens"][..., half])


@pytest.mark.parametrize(
    ("name", "half"), [("clip_l", slice(0, 32)), ("clip_g", slice(32, 64)), ("thing", slice(0, 32))]
)
def test_a_token_for_one_of_two_text_encoders_is_told(name, half, checkpoints, tmp_path):
    prior = load_diffusers(checkpoints["sdxl"], options=token(tmp_path, {name: 5 * torch.randn(1, 32)}), cache=tmp_path)
    other = "text_encoder" if name == "clip_g" else "text_encoder_2"
    with pytest.warns(UserWarning, match=f"holds nothing for the {other}, which reads the token as any letters"):
        said = prior.encode_prompts(["a thing"]).tensors["tokens"]
    without = load_diffusers(checkpoints["sdxl"], cache=tmp_path).encode_prompts(["a thing"]).tensors["tokens"]
    changed = (said != without).any(0).any(0)
    assert changed[half].any()
    assert changed.sum() == changed[half].sum()


@pytest.mark.parametrize(
    ("kind", "name", "word"),
    [("refiner", "<thing>", "<thing>"), ("sd15", "emb_params", "thing"), ("sd15", "clip_l", "thing")],
)
def test_a_token_is_said_by_its_name_or_its_files(kind, name, word, checkpoints, tmp_path):
    options = token(tmp_path, {name: 5 * torch.randn(1, 32)})
    said = [load_diffusers(checkpoints[kind], options=o, cache=tmp_path / "cache").encode_prompts([f"a {word}"])
            for o in (None, options)]  # fmt: skip
    assert (said[0].tensors["tokens"] - said[1].tensors["tokens"]).abs().max() > 1e-3


def test_several_tokens_may_be_said(checkpoints, tmp_path):
    numbers = {name: 5 * torch.randn(1, 32) for name in ("<thing>", "<style>")}
    files = [token(tmp_path, {name: t}, f"{name[1:-1]}.safetensors").tokens()[0] for name, t in numbers.items()]
    both, one = ModelOptions(textual_inversion=tuple(files)), ModelOptions(textual_inversion=files[0])
    said = {}
    for options in (both, one, ModelOptions()):
        prior = load_diffusers(checkpoints["sd15"], options=options, cache=tmp_path / "cache")
        said[options] = prior.encode_prompts(["a <thing>", "a <style>"]).tensors["tokens"]
    torch.testing.assert_close(said[both][0], said[one][0])
    assert (said[both][1] - said[one][1]).abs().max() > 1e-3
    assert (said[one][0] - said[ModelOptions()][0]).abs().max() > 1e-3
    twice = load_diffusers(checkpoints["sd15"], options=replace(one, textual_inversion=(files[0],) * 2), cache=tmp_path)
    with pytest.raises(ScoreliftError, match=r"thing\.safetensors cannot be read .*already in tokenizer"):
        twice.encode_prompts(["a <thing>"])


def test_a_token_of_several_vectors_takes_as_many_tokens(checkpoints, tmp_path):
    options = token(tmp_path, {"<thing>": torch.randn(4, 32)})
    long = "<thing> " * 20 + "zebra"  # 80 vectors
    for _ in range(2):  # what was kept says so again
        prior = load_diffusers(checkpoints["sd15"], options=options, cache=tmp_path / "cache")
        with pytest.warns(UserWarning, match="the prompt has 87 tokens, 77 are read; cut: .*zebra"):
            prior.encode_prompts([long])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prior.encode_prompts(["<thing> " * 18])


@pytest.mark.parametrize(
    ("pickled", "word"),
    [({"string_to_token": {"*": 265}, "string_to_param": {"*": torch.nn.Parameter(torch.ones(2, 32))}, "name": "toy",
       "step": 9}, "toy"), ({"string_to_param": {"*": torch.ones(1, 32)}, "name": None}, "my thing"),
     ({"<toy>": torch.ones(32)}, "<toy>")],
)  # fmt: skip
def test_a_pickled_token_is_refused_with_the_command_that_converts_it(pickled, word, checkpoints, tmp_path):
    torch.save(pickled, tmp_path / "my thing.pt")
    with pytest.raises(ScoreliftError, match=r"model\.textual_inversion: .* is a pickle.* once: python -c") as caught:
        ModelOptions(textual_inversion=str(tmp_path / "my thing.pt")).check_files()
    exec(shlex.split(str(caught.value).split("once: ")[1])[2])
    options = ModelOptions(textual_inversion=str(tmp_path / "my thing.safetensors"))
    said = [load_diffusers(checkpoints["sd15"], options=o, cache=tmp_path / "cache").encode_prompts([f"a {word}"])
            for o in (None, options)]  # fmt: skip
    assert (said[0].tensors["tokens"] - said[1].tensors["tokens"]).abs().max() > 1e-3


def test_what_the_cpu_read_is_not_read_again(checkpoints, tmp_path, monkeypatch):
    """By a later run either, which would begin with the text encoders on the card."""
    here = load_diffusers(checkpoints["sd15"], cache=tmp_path).prompts
    wanted = here.encode(["a duck"])["tokens"]
    monkeypatch.setattr(Prompts, "_pipeline", lambda self: pytest.fail("the text encoders were loaded"))
    half = ModelOptions(precision="bf16")
    later = Prompts(here.checkpoint, here.family, half, torch.device("meta"), tmp_path)
    assert later.dtype == torch.bfloat16
    assert torch.equal(later.encode(["a duck"])["tokens"], wanted)


@pytest.fixture
def published(checkpoints, tmp_path):
    """Stable Diffusion 1.5 with the index it was published with, which names a safety checker."""
    folder = shutil.copytree(checkpoints["sd15"], tmp_path / "published")
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
              "feature_extractor": ["transformers", "CLIPFeatureExtractor"], "_diffusers_version": "0.6.0"}  # fmt: skip
    kept = {name: entry for name, entry in index.items() if name not in ("image_encoder", "requires_safety_checker")}
    (folder / "model_index.json").write_text(json.dumps(kept))
    return folder


def test_a_safety_checker_that_is_not_used_is_not_spoken_of(published, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("diffusers"), "propagate", True)
    load_diffusers(published, cache=tmp_path).encode_prompts(["a duck"])
    assert "safety" not in caplog.text


def test_the_command_says_what_is_cut_in_a_line(published, tmp_path):
    """In a process of its own, as a user runs it: what libraries say as well."""
    words = ("priors", "check", str(published), "--steps", "2", "--prompt", "a duck " * 30 + "zebra")
    found = subprocess.run([sys.executable, "-m", "scorelift", *words], cwd=tmp_path, capture_output=True, text=True,
                           check=False)  # fmt: skip
    assert found.returncode == 0, found.stderr
    said = [line for line in found.stderr.splitlines() if line]
    assert len(said) == 1, found.stderr
    assert said[0].startswith("warning: the prompt has ")
    assert "77 are read; cut: " in said[0]
