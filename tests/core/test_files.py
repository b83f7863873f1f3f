import os
from functools import partial

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from scorelift.core.errors import DamagedError, ScoreliftError
from scorelift.core.files import check_out, load_state, load_weights, save_state, save_weights, write_bytes, write_json

WRITERS = {
    "bytes": lambda path: write_bytes(path, b"x"),
    "state": lambda path: save_state(path, {"t": torch.ones(2)}),
    "weights": lambda path: save_weights(path, {"t": torch.ones(2)}, {}),
}
every_writer = pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)


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
    with pytest.raises(ScoreliftError, match=r"s\.safetensors: damaged"):
        load_state(path)


def test_a_damaged_note_is_told_as_well(tmp_path):
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": torch.ones(2), "step": 3})
    whole = path.read_bytes()
    for old, new in ((b"state.a", b"state.b"), (b"step", b"st\\p")):
        path.write_bytes(whole.replace(old, new, 1))
        with pytest.raises(DamagedError, match=r"s\.safetensors: damaged"):
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


@every_writer
def test_a_folder_in_the_way_is_told_and_nothing_is_left(tmp_path, write):
    (tmp_path / "a").mkdir()
    with pytest.raises(ScoreliftError, match=r"a: cannot be written \(Is a directory\)"):
        write(tmp_path / "a")
    assert [p.name for p in tmp_path.rglob("*")] == ["a"]


def test_a_full_disk_is_told_and_nothing_is_left(tmp_path, monkeypatch):
    def fill(tensors, path, metadata):
        path.write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("scorelift.core.files.save_file", fill)
    for write in (WRITERS["state"], WRITERS["weights"]):
        with pytest.raises(ScoreliftError, match=r"a: cannot be written \(No space left on device\)\."):
            write(tmp_path / "a")
    assert not any(tmp_path.iterdir())


@every_writer
def test_files_have_the_permissions_of_others(tmp_path, write):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_what_can_never_be_written_is_told_before_the_work(tmp_path):
    (tmp_path / "file").write_text("mine")
    check = partial(check_out, suffix=".png")
    check(tmp_path / "new" / "folder" / "a.PNG")
    for path, words in (("a.jpg", "ending in .png"), ("file/b/a.png", "file, which is a file")):
        with pytest.raises(ScoreliftError, match=words):
            check(tmp_path / path)
    with pytest.raises(ScoreliftError, match="which is a folder"):
        check_out(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_single_changed_bit_is_told(tmp_path):
    path = tmp_path / "s.safetensors"
    state = {"a": torch.arange(6.0), "none": torch.zeros(0), "flags": torch.tensor([True]), "one": torch.tensor(3)}
    save_state(path, state)
    assert all(torch.equal(load_state(path)[name], state[name]) for name in state)
    whole = bytearray(path.read_bytes())
    whole[whole.index(torch.arange(6.0).numpy().tobytes()) + 9] ^= 1
    path.write_bytes(whole)
    with pytest.raises(DamagedError, match=r"s\.safetensors: damaged \(the numbers of state\.a have changed\)"):
        load_state(path)


def test_what_somebody_made_half_and_files_without_sums_are_read(tmp_path):
    path = tmp_path / "s.safetensors"
    save_state(path, {"a": torch.arange(6.0)})
    with safe_open(path, framework="pt") as file:
        metadata, tensor = file.metadata(), file.get_tensor("state.a")
    save_file({"state.a": tensor.half()}, path, metadata)
    assert load_state(path)["a"].dtype == torch.float16
    save_file({"state.a": tensor + 1}, path, {"state": metadata["state"]})  # as versions until 2026-11 wrote them
    assert load_state(path)["a"].tolist() == [1, 2, 3, 4, 5, 6]
