import pytest
import torch

from scorelift.core.files import load_state, save_state
from scorelift.core.schedules import WarmupCosine
from scorelift.recipes.optimizers import Adam, AdamW, Shampoo


def problem():
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 150), torch.nn.SiLU(), torch.nn.Linear(150, 3))
    x, y = torch.randn(64, 6), torch.randn(64, 3)
    return net, lambda: ((net(x) - y) ** 2).mean()


def steps(config, net, loss, optimizer=None, n=60):
    optimizer = optimizer or config.build([{"params": list(net.parameters()), "lr": 1.0}])
    values = []
    for _ in range(n):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3
        optimizer.zero_grad(set_to_none=True)
        value = loss()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    return optimizer, values


@pytest.mark.parametrize("config", [Adam(), AdamW(), Shampoo(recompute_every=5)], ids=["adam", "adamw", "shampoo"])
def test_descends_and_resumes_exactly_from_a_file(config, tmp_path):
    net, loss = problem()
    _, whole = steps(config, net, loss, n=60)
    assert whole[-1] < 0.9 * whole[0]

    net, loss = problem()
    optimizer, first = steps(config, net, loss, n=33)
    save_state(tmp_path / "s", {"net": net.state_dict(), "optimizer": optimizer.state_dict()})
    state = load_state(tmp_path / "s")
    net, loss = problem()
    net.load_state_dict(state["net"])
    fresh = config.build([{"params": list(net.parameters()), "lr": 1.0}])
    fresh.load_state_dict(state["optimizer"])
    _, second = steps(config, net, loss, fresh, n=27)
    assert first + second == whole


def test_shampoo_neither_hears_nor_changes_what_else_is_random():
    found = []
    for seed in (1, 2):
        net, loss = problem()
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        found.append(steps(Shampoo(recompute_every=5), net, loss, n=40)[1])
        assert torch.equal(torch.get_rng_state(), state)
    assert found[0] == found[1]


def test_weights_decay_beside_the_gradient():
    weight = torch.nn.Parameter(torch.tensor([2.0, -1.0]))
    optimizer = AdamW(weight_decay=0.1).build([{"params": [weight], "lr": 0.01}])
    weight.grad = torch.tensor([0.3, 0.0])
    optimizer.step()
    # A first step is the rate against the gradient's sign, after the weight has lost rate * decay of itself.
    torch.testing.assert_close(weight.detach(), torch.tensor([2 * (1 - 1e-3) - 0.01, -(1 - 1e-3)]))


def test_shampoo_has_the_papers_settings():
    net, loss = problem()
    optimizer, _ = steps(Shampoo(), net, loss, n=1)
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.9)
    assert (optimizer.inverse_exponent_override, optimizer.block_size, optimizer.matrix_eps) == (2, 128, 1e-6)
    # SQRT_N grafting: a first step has the size of the gradient's sign, sqrt(N).
    before = [p.detach().clone() for p in net.parameters()]
    optimizer.param_groups[0]["lr"] = 1e-3
    optimizer.zero_grad()
    loss().backward()
    grads = [p.grad.clone() for p in net.parameters()]
    fresh = Shampoo().build([{"params": list(net.parameters()), "lr": 1e-3, "nesterov": False}])
    fresh.step()
    for p, old, grad in zip(net.parameters(), before, grads, strict=True):
        assert float((p.detach() - old).norm()) == pytest.approx(1e-3 * float(grad.sign().norm()), rel=1e-3)


def test_the_papers_learning_rate():
    rate = Shampoo().rate
    assert isinstance(rate, WarmupCosine)
    assert rate.at(0.0) == 1e-9
    assert rate.at(1500 / 15000) == pytest.approx((1e-9 + 1e-4) / 2)
    assert rate.at(3000 / 15000) == pytest.approx(1e-4)
    assert rate.at(9000 / 15000) == pytest.approx((1e-4 + 1e-6) / 2)
    assert rate.at(1.0) == pytest.approx(1e-6)
