import dataclasses

import pytest
import torch

from scorelift.core.diffusion import Level
from scorelift.core.errors import ScoreliftError
from scorelift.engine.generate import generate
from scorelift.priors.guidance import Guidance
from scorelift.priors.toybox import load_toybox
from scorelift.recipes import find_recipe


@pytest.fixture(scope="module")
def toybox():
    return load_toybox()


@pytest.mark.parametrize("size", [(48, 48), (64, 32), (16, 16)])
def test_sizes_it_was_not_trained_at_are_refused(toybox, size):
    with pytest.raises(ScoreliftError, match=rf"size.*32 x 32 or 64 x 64.*{size[0]} x {size[1]}"):
        toybox.predict_x0(torch.zeros(1, 3, *size), Level.vp(torch.ones(1)), toybox.encode_prompts(["a duck"]))


def test_a_run_of_such_a_size_does_not_begin(tmp_path):
    recipe = find_recipe("quick")
    recipe = recipe.with_stages({"shape": dataclasses.replace(recipe.shape, size=48)})
    with pytest.raises(ScoreliftError, match="32 x 32 or 64 x 64"):
        generate("a red mushroom", recipe=recipe, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_pictures_of_any_precision_come_back_in_theirs(toybox, dtype):
    z_t, level = torch.randn(1, 3, 64, 64).to(torch.bfloat16), Level.vp(torch.ones(1))
    condition = toybox.encode_prompts(["a duck"])
    x0 = toybox.predict_x0(z_t.to(dtype), level, condition)
    assert x0.dtype == dtype
    torch.testing.assert_close(x0.float(), toybox.predict_x0(z_t.float(), level, condition), atol=0.02, rtol=0.02)


def test_prompts_encoded_apart_are_as_prompts_encoded_together(toybox):
    prompts = ["a red mushroom", "a DSLR photo of a yellow duck wearing a green top hat, left side view"]
    z_t, level = torch.randn(2, 3, 32, 32), Level.vp(torch.ones(2))
    together = toybox.encode_prompts([*prompts, ""])
    apart = [toybox.encode_prompts([prompt]) for prompt in [*prompts, ""]]
    cond, uncond = type(together).cat(apart[:2]), type(together).cat([apart[2], apart[2]])
    torch.testing.assert_close(
        Guidance.cfg(cond, uncond, 7.5).x0(toybox, z_t, level),
        Guidance.cfg(together.pick([0, 1]), together.pick([2, 2]), 7.5).x0(toybox, z_t, level),
        atol=1e-4, rtol=1e-4,
    )  # fmt: skip
