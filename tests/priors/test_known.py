"""Names, downloads and the commands about priors; the hub itself is played."""

import importlib.util
from typing import ClassVar

import huggingface_hub
import pytest

pytest.importorskip("diffusers")

from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.priors.known import KNOWN, download, folder_of
from scorelift.priors.registry import load_prior


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
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    assert download("sd21-base") == tmp_path
    assert [repository for repository, _ in asked] == [first, second]
    assert not any("bin" in pattern for pattern in asked[1][1]["allow_patterns"])  # no pickles


def test_what_is_here_is_found_in_the_hubs_cache(monkeypatch, tmp_path):
    def answer(repository, *, local_files_only):
        assert local_files_only
        return str(tmp_path / repository.replace("/", "--"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", answer)
    assert folder_of("sdxl") is None
    folder = tmp_path / KNOWN["sdxl"].ids[0].replace("/", "--")
    folder.mkdir()
    (folder / "model_index.json").write_text("{}")
    assert folder_of("sdxl") == folder


def test_a_path_that_is_not_there_is_no_hub_id():
    for name in ("./my-finetune", "two words/model"):
        with pytest.raises(ScoreliftError, match="prior"):
            load_prior(name)


def test_without_diffusers_the_command_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ScoreliftError, match=r"pip install 'scorelift\[diffusers\]'"):
        load_prior("sd15")


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
