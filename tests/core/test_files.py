import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.core.files import load_state, load_weights, save_state, save_weights, write_json


def test_nested_state_comes_back_bit_for_bit(tmp_path):
    adam = torch.optim.Adam([torch.nn.Parameter(torch.randn(3))])
    adam.param_groups[0]["params"][0].grad = torch.ones(3)
    adam.step()
    state = {
        "optimizer": adam.state_dict(),
        "half": torch.randn(2).half(),
        "flag": torch.tensor([True, False]),
        "list": [1, "two", None, (3.5, False)],
    }
    save_state(tmp_path / "s.safetensors", state)
    back = load_state(tmp_path / "s.safetensors")
    assert back["list"] == state["list"]
    assert torch.equal(back["half"], state["half"])
    assert torch.equal(back["flag"], state["flag"])
    before, after = state["optimizer"]["state"][0], back["optimizer"]["state"][0]
    assert before.keys() == after.keys()
    assert all(torch.equal(torch.as_tensor(before[k]), torch.as_tensor(after[k])) for k in before)
    assert back["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]


def test_what_cannot_be_saved_is_named(tmp_path):
    with pytest.raises(TypeError, match=r"state\.a\.b: cannot save a set"):
        save_state(tmp_path / "s", {"a": {"b": {1}}})


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", b"\xff" * 64])
def test_damaged_files_are_told(tmp_path, content):
    path = tmp_path / "s.safetensors"
    path.write_bytes(content)
    with pytest.raises(ScoreliftError, match="damaged"):
        load_state(path)


def test_missing_file(tmp_path):
    with pytest.raises(ScoreliftError, match="no such file"):
        load_state(tmp_path / "none")


def test_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": {1, 2}})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_weights_in_eight_bits_are_within_half_a_step_of_their_rows(tmp_path):
    tensors = {"matrix": torch.randn(5, 7) * torch.logspace(-3, 3, 5)[:, None], "kernel": torch.randn(4, 3, 3, 3)}
    tensors |= {"bias": torch.randn(9), "nothing": torch.zeros(2, 3)}
    save_weights(tmp_path / "w.safetensors", tensors, {"of": "a test"}, bits=8)
    found, about = load_weights(tmp_path / "w.safetensors", "weights", "")
    assert about == {"of": "a test"}
    assert found.keys() == tensors.keys()
    for name, wanted in tensors.items():
        largest = wanted.abs().flatten(1).amax(1) if wanted.ndim > 1 else wanted.abs()
        step = (largest / 127).view(-1, *[1] * (wanted.ndim - 1)) if wanted.ndim > 1 else 2**-9 * largest
        assert bool(((found[name] - wanted).abs() <= 0.51 * step).all()), name
    save_weights(tmp_path / "half.safetensors", tensors, {})
    assert load_weights(tmp_path / "half.safetensors", "weights", "")[0]["matrix"].equal(
        tensors["matrix"].half().float()
    )
