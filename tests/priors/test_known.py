"""Names, downloads and the commands about priors; the hub is on this machine."""

import importlib.util
from typing import ClassVar

import huggingface_hub
import pytest

pytest.importorskip("diffusers")

from hub import serve
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.priors.known import KNOWN, download, folder_of
from scorelift.priors.registry import load_prior, sketch_prior


class Response:
    """What the hub's errors ask of an answer."""

    headers: ClassVar[dict] = {}
    request = None
    status_code = 404


def refuse(kind):
    def answer(repository, **_):
        raise kind(f"no {repository}", response=Response())

    return answer


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


def test_a_mirror_serves_when_the_first_address_is_gone(monkeypatch, tmp_path):
    first, second = KNOWN["sd21-base"].ids
    asked = []

    def answer(repository, **options):
        asked.append((repository, options))
        if repository == first:
            raise RepositoryNotFoundError("gone", response=Response())
        (tmp_path / "model_index.json").write_text("{}")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    assert download("sd21-base") == tmp_path
    assert [repository for repository, _ in asked] == [first, second]
    assert not any("bin" in pattern for pattern in asked[1][1]["allow_patterns"])  # no pickles


def whole(checkpoints):
    """The files of a repository with what is wanted of it, and what is not."""
    folder = checkpoints["ddpm"]
    files = {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    spare = ("README.md", "ddpm.safetensors", "unet/diffusion_pytorch_model.bin", "safety_checker/model.safetensors",
             "unet/diffusion_pytorch_model.fp16.safetensors", "unet/model.onnx")  # fmt: skip
    return files, dict.fromkeys(spare, b"not wanted")


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


def test_an_interrupted_download_is_not_here_and_continues(checkpoints, tmp_path):
    files, spare = whole(checkpoints)
    weights = "unet/diffusion_pytorch_model.safetensors"
    with serve("some/ddpm", {**files, **spare}, tmp_path, lost=(weights,)) as before:
        with pytest.raises(ScoreliftError, match="some/ddpm cannot be reached"):
            download("some/ddpm")
        assert folder_of("some/ddpm") is None
        with pytest.raises(ScoreliftError, match="scorelift priors get some/ddpm"):
            load_prior("some/ddpm")
    with serve("some/ddpm", {**files, **spare}, tmp_path) as fetched:
        assert download("some/ddpm") == folder_of("some/ddpm")
        assert weights in fetched
        assert set(fetched).isdisjoint(before)


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
        serve("some/single", {"README.md": b"", "model.safetensors": b""}, tmp_path),
        pytest.raises(ScoreliftError, match=r"no model_index\.json.*from_single_file"),
    ):
        download("some/single")


def test_a_path_that_is_not_there_is_no_hub_id():
    for name in ("./my-finetune", "two words/model"):
        with pytest.raises(ScoreliftError, match="prior"):
            load_prior(name)


def test_without_diffusers_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ScoreliftError, match=r"pip install '\.\[diffusers\]'"):
        load_prior("sd15")


def test_without_transformers_the_command_that_installs_it_is_said(checkpoints, monkeypatch):
    own = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else own(name))
    for look in (load_prior, sketch_prior):
        with pytest.raises(ScoreliftError, match=r"need the transformers library.*pip install '\.\[diffusers\]'"):
            look(str(checkpoints["sd15"]))


def test_the_commands(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse(HfHubHTTPError))
    assert main(["priors"]) == 0
    listed = capsys.readouterr().out
    assert all(name in listed for name in ("toybox", *KNOWN))
    assert main(["priors", "get", "sd99"]) == 2
    assert main(["priors", "check", "toybox", "--steps", "2", "--out", str(tmp_path / "c.png")]) == 0
    said = capsys.readouterr().out
    assert "pixels 64 x 64 x 3" in said
    assert (tmp_path / "c.png").exists()
    assert main(["priors", "check", "sd15"]) == 2
    assert "scorelift priors get sd15" in capsys.readouterr().err
