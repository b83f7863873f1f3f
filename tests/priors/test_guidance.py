import torch

from scorelift.core.diffusion import Level
from scorelift.priors.analytic import EmpiricalPrior
from scorelift.priors.base import Condition
from scorelift.priors.guidance import Guidance, PerpNeg


def prior(generator):
    return EmpiricalPrior({k: torch.randn(3, 1, 4, 4, generator=generator) for k in ("a", "a, left", "b")})


def test_convention_and_batches(generator):
    """Guidance in one batched pass equals two passes by hand, at batch 1 and at batch 3."""
    model = prior(generator)
    encoded = model.encode_prompts(["", "a", "b"])
    for rows in ([1], [1, 2, 1]):
        z_t = torch.randn(len(rows), 1, 4, 4, generator=generator)
        level = Level.vp(torch.linspace(0.5, 2.0, len(rows)))
        cond, uncond = encoded.pick(rows), encoded.pick([0] * len(rows))
        got = Guidance.cfg(cond, uncond, 7.5).x0(model, z_t, level)
        c, u = model.predict_x0(z_t, level, cond), model.predict_x0(z_t, level, uncond)
        torch.testing.assert_close(got, u + 7.5 * (c - u))
        alone = [
            Guidance.cfg(cond.pick([i]), uncond.pick([i]), 7.5).x0(
                model, z_t[i : i + 1], Level(level.alpha_t[i : i + 1], level.sigma_t[i : i + 1])
            )
            for i in range(len(rows))
        ]
        torch.testing.assert_close(got, torch.cat(alone))


def test_scale_one_is_the_conditional_alone(generator):
    assert (
        len(Guidance.cfg(prior(generator).encode_prompts(["a"]), prior(generator).encode_prompts([""]), 1.0).terms) == 1
    )


def test_object_and_view_apart(generator):
    model = prior(generator)
    full, plain, uncond = (model.encode_prompts([p]) for p in ("a, left", "a", ""))
    z_t, level = torch.randn(1, 1, 4, 4, generator=generator), Level.vp(torch.tensor([1.0]))
    f, p, u = (model.predict_x0(z_t, level, c) for c in (full, plain, uncond))
    got = Guidance.two_scales(full, plain, uncond, object_scale=5.0, view_scale=9.0).x0(model, z_t, level)
    torch.testing.assert_close(got, u + 5.0 * (p - u) + 9.0 * (f - p))
    same = Guidance.two_scales(full, plain, uncond, object_scale=5.0, view_scale=5.0).x0(model, z_t, level)
    torch.testing.assert_close(same, u + 5.0 * (f - u))


def test_conditions_pick_cat_and_mix():
    condition = Condition(
        {
            "v": torch.arange(6.0).view(3, 2),
            "hidden": torch.tensor([[False, True], [True, True], [False, False]]),
            "label": torch.tensor([7, 8, 9]),
        }
    )
    assert Condition.cat([condition, condition.pick([2, 0])]).tensors["v"].tolist()[3:] == [[4.0, 5.0], [0.0, 1.0]]
    mixed = condition.mix(torch.tensor([[0.25, 0.0, 0.75], [0.5, 0.5, 0.0]]))
    assert mixed.tensors["v"].tolist() == [[3.0, 4.0], [1.0, 2.0]]
    assert mixed.tensors["hidden"].tolist() == [[False, False], [False, True]]
    assert mixed.tensors["label"].tolist() == [9, 7]  # names of something are not mixed


def test_perp_neg_by_hand_at_any_batch(generator):
    """A widely used framework pairs the wrong negatives at batch above 1 (threestudio 456): here each keeps its own."""
    model = prior(generator)
    encoded = model.encode_prompts(["", "a", "a, left", "b"])
    z_t = torch.randn(3, 1, 4, 4, generator=generator)
    level = Level.vp(torch.tensor([0.5, 1.0, 2.0]))
    weights = (torch.tensor([0.0, -0.5, -1.0]), torch.tensor([-1.0, 0.0, -0.2]))
    rows = ([1, 2, 1], [0, 0, 0], [2, 1, 3], [3, 3, 2])
    cond, uncond, first, second = (encoded.pick(r) for r in rows)
    got = PerpNeg(cond, uncond, ((first, weights[0]), (second, weights[1])), 4.0).x0(model, z_t, level)
    for i in range(3):
        one = Level(level.alpha_t[i : i + 1], level.sigma_t[i : i + 1])
        c, u, *negatives = (model.predict_x0(z_t[i : i + 1], one, encoded.pick([r[i]])).flatten() for r in rows)
        total = c - u
        for negative, weight in zip(negatives, weights, strict=True):
            apart = negative - u
            total = total + weight[i] * (apart - (apart @ (c - u)) / ((c - u) @ (c - u)) * (c - u))
        torch.testing.assert_close(got[i].flatten(), u + 4.0 * total, atol=1e-5, rtol=1e-4)


def test_perp_neg_without_weight_is_plain_guidance(generator):
    model = prior(generator)
    cond, uncond, other = (model.encode_prompts([p]) for p in ("a", "", "b"))
    z_t, level = torch.randn(1, 1, 4, 4, generator=generator), Level.vp(torch.tensor([1.0]))
    plain = Guidance.cfg(cond, uncond, 7.5).x0(model, z_t, level)
    torch.testing.assert_close(PerpNeg(cond, uncond, ((other, torch.zeros(1)),), 7.5).x0(model, z_t, level), plain)
