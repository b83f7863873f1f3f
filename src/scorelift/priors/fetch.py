"""Models of the hub: where they lie on this machine, and how they come there."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ScoreliftError
from .known import INDEX, KNOWN, SINGLE, conversion
from .variants import HALF, PICKLES, PLAIN, SAFE, pick, whole_variants

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

SPARE = ("safety_checker", "watermarker")
"Components that nothing here uses."
SMALL: dict[str, Any] = {
    "allow_patterns": ["*.json", "*.txt", "*.model"],
    "ignore_patterns": [*(f"{name}/*" for name in SPARE), "*.index*.json", "text_encoders/*", "*onnx*", "*openvino*"],
}
"What is fetched of every repository. Weights are chosen from its list, with the indexes of their shards."
ELSEWHERE = "set HF_HOME to a folder on another disk"

Index = dict[str, Any] | None
"What model_index.json says; None if there is none."
Wanted = dict[str, tuple[str, list[str]]]
"Of each component the variant to take, and the paths of its weights in the repository."


def folder_of(name: str) -> Path | None:
    """Where a known model, or a hub id, lies on this machine; None if not all that it needs was downloaded."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    for repository in KNOWN[name].ids if name in KNOWN else (name,):
        try:  # by the same patterns as the download: the hub's client asks for every file it was not told to leave
            folder = Path(snapshot_download(repository, local_files_only=True, **SMALL))
        except (LocalEntryNotFoundError, OSError, ValueError):  # ValueError: no such name can be
            continue
        here = [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]
        if _lack(repository, here, _index(folder)) is None:
            return folder
    return None


def download(name: str, variant: str = PLAIN, say: Callable[[str], None] = lambda _: None) -> Path:
    """Fetch a known model, or a hub id, into the hub's cache; an interrupted download continues, mirrors are tried.

    Args:
        variant: of each component, where it has it; else its plain weights are taken, else those of fp16.
        say: is given lines for people: what is taken, what is checked.

    Raises:
        ScoreliftError: with what helps: no network, a licence to accept, a repository that is gone or holds pickles,
            a disk that is full, a file that is not what the hub says it is.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        RepositoryNotFoundError,
        XetDownloadError,
    )

    reasons = []
    for repository in KNOWN[name].ids if name in KNOWN else (name,):
        try:
            folder = Path(snapshot_download(repository, **SMALL))
            index = _index(folder)
            kept = _kept(repository, folder.name)  # without a network the hub's client is content with what is here
            if kept and _lack(repository, kept, index) is None and not _missing(folder, _wanted(kept, index, variant)):
                return folder
            files = _listed(repository, folder.name)
            if (lack := _lack(repository, files, index)) is None:
                _fetch(name, repository, folder, files, index, variant, say)
                return folder
            reasons.append(f"{repository} {lack}")
        except GatedRepoError:
            reasons.append(f"{repository} asks you to accept its licence: log in on its page, accept, then run "
                           "`hf auth login` here and this command again")  # fmt: skip
        except RepositoryNotFoundError:
            reasons.append(f"{repository} is not there any more, or private")
        except HFValidationError:
            reasons.append(f"{repository} is no hub id")
        except (OSError, RuntimeError, XetDownloadError, *HfHubHTTPError.__bases__) as error:  # type: ignore[misc]
            _check_disk(name, error)  # the last ones: its network libraries' own
            reasons.append(f"{repository} cannot be reached; is there a network? ({type(error).__name__})")
    raise ScoreliftError(f"prior {name}: {'; '.join(reasons)}.")


def _fetch(name: str, repository: str, folder: Path, files: dict[str, RepoFile], index: Index, variant: str,
           say: Callable[[str], None]) -> None:  # fmt: skip
    """Fetch the weights that are not here, one file after the other, and check each as it comes."""
    from huggingface_hub import hf_hub_download

    wanted = _wanted(files, index, variant)
    todo, half = _missing(folder, wanted), _missing(folder, _wanted(files, index, HALF))
    need, less = (sum(files[path].size for path in paths) for paths in (todo, half))
    if todo:
        parts = ", ".join(f"{place or 'network'} {taken or 'plain'}" for place, (taken, _) in wanted.items())
        say(f"{repository}: {_gb(need)} to fetch ({parts})")
    _check_space(name, need, less)
    for path in todo:
        hf_hub_download(repository, path, revision=folder.name)
        try:
            _verify(name, repository, folder / path, files[path], say)
        except BaseException:  # Ctrl-C too: what was not checked is not here, and is checked the next time
            (folder / path).unlink(missing_ok=True)
            raise


def _missing(folder: Path, wanted: Wanted) -> list[str]:
    """The paths of weights that are not here; indexes first, so that all shards never are here without theirs."""
    paths = [path for _, there in wanted.values() for path in there if not (folder / path).exists()]
    return sorted(paths, key=lambda path: path.endswith(SAFE))


def _listed(repository: str, commit: str) -> dict[str, RepoFile]:
    """The files of a repository, by path, with sizes and hashes."""
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

    tree = HfApi().list_repo_tree(repository, recursive=True, revision=commit)
    return {file.path: file for file in tree if isinstance(file, RepoFile)}


def _kept(repository: str, commit: str) -> list[str]:
    """The paths of a repository's files as the hub's client keeps them, without hashes; none where it does not."""
    import huggingface_hub

    keeps = getattr(huggingface_hub, "get_cached_repo_tree", None)
    if keeps is None:
        return []
    try:
        return [file.path for file in keeps(repository, revision=commit)]
    except huggingface_hub.errors.CachedRepoTreeNotFoundError:
        return []


def _index(folder: Path) -> Index:
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return index if isinstance(index, dict) else None


def _places(files: Iterable[str], index: dict[str, Any]) -> dict[str, list[str]]:
    """The names of files by component, of those that have weights; "" is the root, where some old ones lie."""
    there: dict[str, list[str]] = {}
    for file in files:
        place, _, name = file.rpartition("/")
        there.setdefault(place, []).append(name)
    used = [name for name, entry in sorted(index.items()) if isinstance(entry, list) and any(entry[:1])]
    places = [name for name in used if name not in SPARE]
    if any(name in ("unet", "transformer") and name not in there for name in used):
        places.insert(0, "")
    return {place: names for place in places if "config.json" in (names := there.get(place, []))}


def _wanted(files: Iterable[str], index: Index, first: str) -> Wanted:
    found: Wanted = {}
    for place, names in _places(files, index or {}).items():
        sets = whole_variants(names)
        if (variant := pick(sets, first)) is not None:
            found[place] = variant, [f"{place}/{name}" if place else name for name in sets[variant]]
    return found


def _lack(repository: str, files: Iterable[str], index: Index) -> str | None:
    """Why a repository, or what is here of it, is of no use; None if it is."""
    if index is None:
        return f"has no {INDEX}, so it is no diffusers model. {SINGLE.rstrip('.')}"
    for place, names in _places(files, index).items():
        if whole_variants(names):
            continue
        what, target = place or "network", repository.rpartition("/")[2]
        if any(name.endswith(SAFE) for name in names):
            return f"has only some of the safetensors of its {what}"
        if not any(name.endswith(PICKLES) for name in names):
            return f"has no weights of its {what}"
        return (f"has no safetensors of its {what}; pickles, which can run code, are not downloaded. "
                f"{conversion(repository, target)}, and use --prior ./{target}")  # fmt: skip
    return None


def _check_space(name: str, need: int, less: int) -> None:
    """Raise if files of `need` bytes do not fit the disk; those of fp16 would have `less`."""
    cache = _cache()
    free = shutil.disk_usage(next(place for place in (cache, *cache.parents) if place.exists())).free
    if need > free:
        half = f"take --variant {HALF} ({_gb(less)}), " if less < need else ""
        raise ScoreliftError(f"prior {name}: its files need {_gb(need)}, and {_gb(free)} are free in {cache}; "
                             f"{half}free some space or {ELSEWHERE}.")  # fmt: skip


def _check_disk(name: str, error: Exception) -> None:
    """Raise for an error that is the disk's and not the network's."""
    number, said = getattr(error, "errno", None), str(error)
    if number in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in said or "No space left" in said:  # as xet's is
        what = f"the disk is full in {_cache()}; free some space or {ELSEWHERE}, then give the command again"
    elif number in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = f"{_cache()} cannot be written; {ELSEWHERE}"
    else:
        return
    raise ScoreliftError(f"prior {name}: {what}.") from error


def _verify(name: str, repository: str, path: Path, file: RepoFile, say: Callable[[str], None]) -> None:
    """Raise for a file that has not the size and hash that the hub states, and delete it."""
    good = path.stat().st_size == file.size
    if good and file.lfs is not None:
        say(f"{file.path}: checking its SHA-256, {_gb(file.size)}")
        with path.open("rb") as stream:
            good = hashlib.file_digest(stream, "sha256").hexdigest() == file.lfs.sha256.lower()
    if good:
        return
    while path.is_symlink():  # of a snapshot to where the hub's client keeps what is in it
        target = path.parent / path.readlink()
        path.unlink()
        path = target
    path.unlink(missing_ok=True)
    raise ScoreliftError(f"prior {name}: {file.path} of {repository} came with another size or SHA-256 than the hub "
                         "states and was deleted; give the command again to fetch it anew.")  # fmt: skip


def _cache() -> Path:
    import huggingface_hub.constants as hub

    return Path(hub.HF_HUB_CACHE)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
