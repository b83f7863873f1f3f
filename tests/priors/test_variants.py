"""Which files of weights belong together, and which are taken."""

import pytest

from scorelift.priors.variants import pick, variant_of, whole_variants


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("diffusion_pytorch_model.safetensors", ""),
        ("model-00001-of-00002.safetensors", ""),
        ("model.safetensors.index.json", ""),
        ("diffusion_pytorch_model.fp16.safetensors", "fp16"),
        ("model.fp16-00001-of-00002.safetensors", "fp16"),
        ("model-00001-of-00002.fp16.safetensors", "fp16"),  # as they were once named
        ("model.safetensors.index.fp16.json", "fp16"),
        ("diffusion_pytorch_model.non_ema.safetensors", "non_ema"),
        ("diffusion_pytorch_model.ema.safetensors", "ema"),
        ("diffusion_pytorch_model.fp32.safetensors", "fp32"),
    ],
)
def test_the_variant_in_a_name(name, variant):
    assert variant_of(name) == variant


def test_files_of_a_variant_belong_together():
    plain = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    half = ["model.fp16.safetensors"]
    rest = ["config.json", "model.bin", "model.ckpt.index.json", "v1-5.safetensors"]
    assert whole_variants([*plain, *half, *rest]) == {"": plain, "fp16": half}
    assert whole_variants([*plain[1:], *half, *rest]) == {"fp16": half}  # a shard is missing
    assert whole_variants(rest) == {"": ["v1-5.safetensors"]}  # of a name that is not usual, if it is the only one
    assert whole_variants(["config.json"]) == {}


def test_what_is_taken_first():
    assert pick(["bf16", "fp16", ""]) == ""
    assert pick(["bf16", "fp16", ""], "fp16") == "fp16"
    assert pick(["bf16", ""], "fp16") == ""
    assert pick(["bf16", "fp16"]) == "fp16"
    assert pick(["non_ema", "bf16"]) == "bf16"
    assert pick([]) is None
