"""Text encoders in eight bits: their rounding, their memory, and that what they say is kept apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

pytest.importorskip("diffusers")

import tiny
from transformers import T5Config, T5EncoderModel

from scorelift.core.config import from_json, to_json
from scorelift.core.errors import ScoreliftError
from scorelift.engine.plan import plan, shortage
from scorelift.priors.diffusers import load_diffusers
from scorelift.priors.diffusers.eight import Eight, shrink
from scorelift.priors.diffusers.prompts import Prompts
from scorelift.priors.options import ModelOptions
from scorelift.priors.registry import sketch_prior
from scorelift.recipes import find_recipe

EIGHT = ModelOptions(text_bits=8)
SPEAKING = [kind for kind in tiny.KINDS if kind not in ("dit", "ddpm")]


def apart(a, b):
    """How far a is from b, of b's size."""
    return float(((a - b).norm() / b.norm()).detach())


def test_by_hand():
    layer = nn.Linear(3, 2)
    layer.weight.data = torch.tensor([[1.27, -0.64, 0.0], [0.0, 0.0, 0.0]])
    layer.bias.data = torch.tensor([0.5, -0.5])
    eight = Eight(layer, torch.float32)
    assert eight.weight.dtype == torch.int8
    assert eight.weight.tolist() == [[127, -64, 0], [0, 0, 0]]
    torch.testing.assert_close(eight(torch.tensor([[1.0, 1.0, 1.0]])), torch.tensor([[1.13, -0.5]]))


def test_no_number_is_off_by_more_than_half_a_step():
    layer = nn.Linear(64, 32)
    eight = Eight(layer, torch.float32)
    steps = layer.weight.abs().amax(1, keepdim=True) / 127
    assert ((eight.weight * eight.scale - layer.weight).abs() <= 0.5001 * steps).all()


@pytest.mark.parametrize(("own", "dtype"), [(torch.float16, torch.float32), (torch.bfloat16, torch.bfloat16)])
def test_t5_says_nearly_the_same(own, dtype):
    """With the gates, depth and head width of the published ones, if fewer numbers."""
    torch.manual_seed(0)
    net = T5EncoderModel(T5Config(vocab_size=64, d_model=64, d_kv=16, d_ff=160, num_layers=24, num_heads=4,
                                  feed_forward_proj="gated-gelu")).eval()  # fmt: skip
    ids = torch.randint(0, 64, (1, 77), generator=torch.Generator().manual_seed(1))
    wanted = net(ids)[0]
    net.to(own)
    net.encoder.block[0].layer[1].DenseReluDense.wo.float()  # as the transformers library has it beside fp16
    shrink(net, dtype)
    assert not any(isinstance(module, nn.Linear) for module in net.modules())
    assert {p.dtype for p in net.parameters()} == {dtype}
    wo = net.encoder.block[0].layer[1].DenseReluDense.wo
    assert wo.dtype == torch.float32
    found = net(ids)[0]
    assert apart(found.float(), wanted) < (0.04 if dtype == torch.float32 else 0.05)  # bf16 alone: .023


@pytest.mark.parametrize("kind", SPEAKING)
def test_every_kind_reads_in_eight_bits(kind, checkpoints, tmp_path, monkeypatch):
    whole, eight = (load_diffusers(checkpoints[kind], options=o, cache=tmp_path) for o in (ModelOptions(), EIGHT))
    prompts = ["", "a red mushroom"]
    said, found = (prior.encode_prompts(prompts).tensors for prior in (whole, eight))
    for name, wanted in said.items():
        assert found[name].dtype == wanted.dtype
        if wanted.is_floating_point():
            assert apart(found[name], wanted) < 0.03
    assert not torch.equal(found["tokens"], said["tokens"])  # kept apart on disk
    monkeypatch.setattr(Prompts, "_pipeline", lambda _: pytest.fail("the text encoders were loaded"))
    for options, wanted in ((ModelOptions(), said), (EIGHT, found)):
        again = load_diffusers(checkpoints[kind], options=options, cache=tmp_path).encode_prompts(prompts)
        assert torch.equal(again.tensors["tokens"], wanted["tokens"])


@pytest.mark.parametrize("kind", SPEAKING)
def test_a_plan_counts_them(kind, checkpoints):
    options = replace(EIGHT, precision="fp32")
    pipe = load_diffusers(checkpoints[kind], options=options).prompts._pipeline()
    tensors = {t.data_ptr(): t for name in pipe.components if name.startswith("text_encoder") and getattr(pipe, name)
               for t in getattr(pipe, name).state_dict().values()}  # fmt: skip
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    assert sketch_prior(str(checkpoints[kind]), options)[1] == size


def test_it_is_named_where_the_text_encoders_do_not_fit(checkpoints):
    recipe = find_recipe("canvas")
    recipe = replace(recipe, prior=str(checkpoints["if"]), picture=replace(recipe.picture, size=16))
    whole, eight = (plan(replace(recipe, model=model)) for model in (ModelOptions(), EIGHT))
    assert "--model.text-bits 8" in shortage(whole, recipe, 1000)
    assert "--model.text-bits 8" not in shortage(eight, replace(recipe, model=EIGHT), 1000)
    assert eight[0].text < 0.4 * whole[0].text


def test_other_numbers_of_bits_are_refused():
    with pytest.raises(ScoreliftError, match=r"^text_bits: expected .*8.*, got '4'"):
        from_json({**to_json(EIGHT), "text_bits": 4}, [ModelOptions])
    assert from_json(to_json(EIGHT), [ModelOptions]) == EIGHT
