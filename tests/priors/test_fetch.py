"""Downloads; the hub is on this machine."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections import namedtuple
from pathlib import Path

import huggingface_hub
import pytest
import torch

pytest.importorskip("diffusers")

from hub import refuse, serve
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from tiny import halve

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.priors.fetch import download, folder_of
from scorelift.priors.known import KNOWN
from scorelift.priors.registry import load_prior

UNET = "unet/diffusion_pytorch_model.safetensors"
HALF = "unet/diffusion_pytorch_model.fp16.safetensors"


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def whole(checkpoints):
    """The files of a repository with what is wanted of it, and what is not."""
    spare = ("README.md", "ddpm.safetensors", "unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors",
             HALF, "unet/diffusion_pytorch_model.non_ema.safetensors", "unet/model.onnx",
             "unet_1_0/diffusion_pytorch_model.safetensors")  # fmt: skip
    return files_of(checkpoints["ddpm"]), dict.fromkeys(spare, b"not wanted")


@pytest.fixture
def mixed(checkpoints, tmp_path):
    """A repository with fp16 beside plain weights, fp16 alone in shards, and plain ones alone."""
    folder = shutil.copytree(checkpoints["sd15"], tmp_path / "mixed")
    halve(folder, "unet", keep=True)
    halve(folder, "text_encoder", shard="20KB")
    files = files_of(folder)
    assert sum(name.startswith("text_encoder/model.fp16-0000") for name in files) > 1
    assert "text_encoder/model.safetensors.index.fp16.json" in files
    return files


@pytest.mark.parametrize(
    ("error", "help_"),
    [(GatedRepoError, "accept its licence"), (RepositoryNotFoundError, "not there any more"),
     (HfHubHTTPError, "cannot be reached")],
)  # fmt: skip
def test_a_download_that_fails_says_what_helps(error, help_, monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse(error))
    with pytest.raises(ScoreliftError, match=help_) as caught:
        download("sd21-base")
    assert all(repository in str(caught.value) for repository in KNOWN["sd21-base"].ids)  # every mirror was tried


def test_a_mirror_serves_when_the_first_address_is_gone(checkpoints, tmp_path):
    first, second = KNOWN["sd21-base"].ids
    files, spare = whole(checkpoints)
    with serve(second, {**files, **spare}, tmp_path) as fetched:
        with pytest.raises(ScoreliftError, match="is not there any more"):
            download(first)
        folder = download("sd21-base")
        assert folder == folder_of("sd21-base") == folder_of(second)
        assert sorted(fetched) == sorted(files)


def test_what_was_downloaded_is_here(checkpoints, tmp_path):
    """By the hub's own client, which keeps the list of a repository's files and asks for each of them."""
    files, spare = whole(checkpoints)
    with serve("some/ddpm", {**files, **spare}, tmp_path) as fetched:
        assert folder_of("some/ddpm") is None
        folder = download("some/ddpm")
        assert sorted(fetched) == sorted(files)
        assert folder_of("some/ddpm") == folder
        assert download("some/ddpm") == folder
        assert sorted(fetched) == sorted(files)  # once
        assert load_prior("some/ddpm").name == "some/ddpm"


def test_what_is_here_needs_no_network(checkpoints, tmp_path, monkeypatch):
    files, spare = whole(checkpoints)
    with serve("some/ddpm", {**files, **spare}, tmp_path):
        folder = download("some/ddpm")
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
        assert download("some/ddpm") == folder
        with pytest.raises(ScoreliftError, match="some/other cannot be reached"):
            download("some/other")


@pytest.mark.parametrize("lost", [UNET, "unet/config.json"])
def test_an_interrupted_download_is_not_here_and_continues(checkpoints, tmp_path, lost):
    files, spare = whole(checkpoints)
    with serve("some/ddpm", {**files, **spare}, tmp_path, lost=(lost,)) as before:
        with pytest.raises(ScoreliftError, match="some/ddpm cannot be reached"):
            download("some/ddpm")
        assert folder_of("some/ddpm") is None
        with pytest.raises(ScoreliftError, match="scorelift priors get some/ddpm"):
            load_prior("some/ddpm")
    with serve("some/ddpm", {**files, **spare}, tmp_path) as fetched:
        assert download("some/ddpm") == folder_of("some/ddpm")
        assert lost in fetched
        assert set(fetched).isdisjoint(before)


def test_plain_weights_come_first_and_fp16_where_there_are_no_others(mixed, tmp_path, monkeypatch):
    monkeypatch.setenv("SCORELIFT_CACHE", str(tmp_path / "prompts"))
    with serve("some/mixed", mixed, tmp_path / "hub") as fetched:
        folder = download("some/mixed")
        assert sorted(fetched) == sorted(set(mixed) - {HALF})
        assert folder_of("some/mixed") == folder
        prior = load_prior("some/mixed")
        assert prior.encode_prompts(["a duck"]).tensors["tokens"].isfinite().all()


def test_fp16_comes_first_where_it_is_asked_for(checkpoints, mixed, tmp_path, monkeypatch):
    monkeypatch.setenv("SCORELIFT_CACHE", str(tmp_path / "prompts"))
    with serve("some/mixed", mixed, tmp_path / "hub") as fetched:
        lines: list[str] = []
        download("some/mixed", "fp16", lines.append)
        assert sorted(fetched) == sorted(set(mixed) - {UNET})
        assert "text_encoder fp16, unet fp16, vae plain" in lines[0]
        found, plain = load_prior("some/mixed"), load_prior(str(checkpoints["sd15"]))
    for weight, other in zip(found.net.parameters(), plain.net.parameters(), strict=True):
        torch.testing.assert_close(weight, other.half().float(), rtol=0, atol=0)
    said = [prior.encode_prompts(["a duck"]).tensors["tokens"] for prior in (found, plain)]
    torch.testing.assert_close(*said, rtol=0, atol=0.02)


def test_half_of_a_repository_is_not_here(mixed, tmp_path):
    """Whichever variant a component lacks a shard of."""
    shards = sorted(name for name in mixed if name.startswith("text_encoder/model.fp16-0000"))
    with serve("some/mixed", mixed, tmp_path, lost=shards[1:2]):
        with pytest.raises(ScoreliftError, match="cannot be reached"):
            download("some/mixed")
        assert folder_of("some/mixed") is None
    listed = {name: data for name, data in mixed.items() if name != shards[1]}
    with (
        serve("some/part", listed, tmp_path),
        pytest.raises(ScoreliftError, match="only some of the safetensors of its text_encoder"),
    ):
        download("some/part")


def test_a_repository_of_pickles_or_of_one_file_is_refused_with_what_converts(checkpoints, tmp_path):
    files, _ = whole(checkpoints)
    pickles = {name.replace("safetensors", "bin"): data for name, data in files.items()}
    with (
        serve("some/pickles", pickles, tmp_path) as fetched,
        pytest.raises(ScoreliftError, match=r"no safetensors of its unet.*use_safetensors=False"),
    ):
        download("some/pickles")
    assert not any(name.endswith(".bin") for name in fetched)
    with (
        serve("some/empty", {name: data for name, data in files.items() if name != UNET}, tmp_path),
        pytest.raises(ScoreliftError, match="has no weights of its unet"),
    ):
        download("some/empty")
    with (
        serve("some/single", {"README.md": b"", "model.safetensors": b""}, tmp_path),
        pytest.raises(ScoreliftError, match=r"no model_index\.json.*from_single_file"),
    ):
        download("some/single")


def test_old_repositories_have_the_network_in_their_root(checkpoints, tmp_path):
    files, _ = whole(checkpoints)
    flat = {name.rpartition("/")[2]: data for name, data in files.items()}
    with serve("some/flat", {**flat, "ddpm.safetensors": b"not wanted"}, tmp_path) as fetched:
        assert download("some/flat") == folder_of("some/flat")
        assert sorted(fetched) == sorted(flat)
        assert load_prior("some/flat").name == "some/flat"


def test_files_are_checked_as_they_come_and_bad_ones_do_not_stay(checkpoints, tmp_path):
    files, _ = whole(checkpoints)
    lines: list[str] = []
    with serve("some/ddpm", files, tmp_path, spoilt=(UNET,)):
        with pytest.raises(ScoreliftError, match=rf"{UNET} of some/ddpm came with another size or SHA-256") as caught:
            download("some/ddpm", say=lines.append)
        assert str(caught.value).count(". ") == 0  # one sentence
        assert f"{UNET}: checking its SHA-256, 0.0 GB" in lines
        assert folder_of("some/ddpm") is None
        assert not [file for file in tmp_path.rglob("*") if file.is_file() and file.read_bytes() == files[UNET][::-1]]
    with serve("some/ddpm", files, tmp_path) as fetched:
        folder = download("some/ddpm", say=lines.append)
        assert fetched == [UNET]
        assert (folder / UNET).read_bytes() == files[UNET]
        before = len(lines)
        download("some/ddpm", say=lines.append)
        assert len(lines) == before  # nothing came, nothing was checked


def test_a_file_whose_check_was_stopped_is_checked_the_next_time(checkpoints, tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    files, _ = whole(checkpoints)
    with serve("some/ddpm", files, tmp_path) as fetched:
        with monkeypatch.context() as patch:
            patch.setattr(hashlib, "file_digest", stop)
            with pytest.raises(KeyboardInterrupt):
                download("some/ddpm")
        assert folder_of("some/ddpm") is None
        lines: list[str] = []
        assert download("some/ddpm", say=lines.append) == folder_of("some/ddpm")
        assert f"{UNET}: checking its SHA-256, 0.0 GB" in lines
        assert fetched.count(UNET) == 1  # its content had stayed


def test_what_does_not_fit_the_disk_is_not_begun(mixed, tmp_path, monkeypatch):
    weights = {name: len(data) for name, data in mixed.items() if "safetensors" in name}
    plain, half = (sum(weights.values()) - weights[spare] for spare in (HALF, UNET))
    disk = namedtuple("disk", "total used free")
    monkeypatch.setattr("scorelift.priors.fetch._gb", lambda size: f"{size} bytes")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: disk(0, 0, plain - 1))
    with serve("some/mixed", mixed, tmp_path) as fetched:
        with pytest.raises(ScoreliftError) as caught:
            download("some/mixed")
        assert str(caught.value) == (
            f"prior some/mixed: its files need {plain} bytes, and {plain - 1} bytes are free in {tmp_path}; take "
            f"--variant fp16 ({half} bytes), free some space or set HF_HOME to a folder on another disk."
        )
        assert not any("safetensors" in name for name in fetched)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: disk(0, 0, half - 1))
        with pytest.raises(ScoreliftError, match=rf"{half} bytes, and {half - 1} bytes are free in {tmp_path}; free"):
            download("some/mixed", "fp16")
        monkeypatch.setattr(shutil, "disk_usage", lambda _: disk(0, 0, half))
        download("some/mixed", "fp16")


@pytest.mark.parametrize(
    ("error", "help_"),
    [(OSError(errno.ENOSPC, "No space left on device"), "the disk is full in .*set HF_HOME"),
     (RuntimeError("Data processing error: I/O error: No space left on device (os error 28)"), "the disk is full"),
     (PermissionError(errno.EACCES, "Permission denied"), "cannot be written; set HF_HOME")],
)  # fmt: skip
def test_a_disk_that_is_full_is_not_called_a_missing_network(checkpoints, tmp_path, monkeypatch, error, help_):
    def fail(*_, **__):
        raise error

    files, _ = whole(checkpoints)
    with serve("some/ddpm", files, tmp_path):
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
        with pytest.raises(ScoreliftError, match=help_) as caught:
            download("some/ddpm")
    assert "network" not in str(caught.value)


def test_the_command_prints_the_folder_and_nothing_else_to_be_read(mixed, tmp_path, capsys):
    with serve("some/mixed", mixed, tmp_path) as fetched:
        assert main(["priors", "get", "some/mixed", "--variant", "fp16"]) == 0
        said = capsys.readouterr()
        assert said.out == f"{folder_of('some/mixed')}\n"
        assert "checking its SHA-256" in said.err
        assert UNET not in fetched
    assert main(["priors", "get", "some/mixed", "--variant", "fp8"]) == 2
