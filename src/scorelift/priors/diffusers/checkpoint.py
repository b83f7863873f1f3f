"""A checkpoint's folder: what it says it is, and whether it can be read."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from ...core.errors import ScoreliftError, bad
from ..known import INDEX, SINGLE, conversion
from ..variants import PICKLES, SAFE, pick, whole_variants

HEADER_LIMIT = 100_000_000
WEIGHTS = (SAFE, *PICKLES, ".msgpack")


@dataclass(frozen=True)
class Checkpoint:
    """A folder as `DiffusionPipeline.save_pretrained` writes it."""

    folder: Path

    @staticmethod
    def open(folder: Path) -> Checkpoint:
        """Look at a folder.

        Raises:
            ScoreliftError: if it is not a diffusers model, or its weights are pickles.
        """
        if not folder.is_dir():
            raise bad("prior", expected="a folder", got=str(folder))
        if not (folder / INDEX).exists():
            single = sorted(p.name for p in folder.glob("*.safetensors"))
            raise bad("prior", expected=f"a folder with {INDEX}", got=f"{folder} with {', '.join(single) or 'none'}",
                      remedy=SINGLE if single else "")  # fmt: skip
        return Checkpoint(folder)

    @cached_property
    def index(self) -> dict[str, Any]:
        """model_index.json."""
        return _read(self.folder / INDEX)

    @property
    def kind(self) -> str:
        """The pipeline's class name."""
        return str(self.index.get("_class_name", ""))

    @property
    def pipeline(self) -> str:
        """The class of diffusers that reads its prompts and its LoRA weights."""
        return "StableDiffusionPipeline" if self.kind == "MVDreamPipeline" else self.kind

    def names(self, component: str) -> tuple[str, str] | None:
        """Library and class of a component; None if the checkpoint has none."""
        entry = self.index.get(component)
        return (entry[0], entry[1]) if isinstance(entry, list) and entry[0] else None

    def path(self, component: str) -> Path:
        """Where a component lies: its folder, or for some old checkpoints the root."""
        return self.folder / component if (self.folder / component).is_dir() else self.folder

    def config(self, component: str) -> dict[str, Any]:
        """A component's configuration."""
        file = self.path(component) / ("scheduler_config.json" if component == "scheduler" else "config.json")
        if file.exists():
            return _read(file)
        raise bad("prior", expected=f"a configuration of its {component}", got=f"{self.folder} without one",
                  remedy="Its download may be incomplete.")  # fmt: skip

    def network(self, component: str) -> Any:
        """The class of diffusers that a component is of.

        Raises:
            ScoreliftError: if diffusers has none of that name.
        """
        import diffusers

        entry = self.names(component) or ("", "none")
        if (kind := getattr(diffusers, entry[1], None)) is None:
            raise bad("prior", expected=f"a network of diffusers {diffusers.__version__} as its {component}",
                      got=entry[1])  # fmt: skip
        return kind

    def check_folder(self, component: str) -> None:
        """Raise for a component whose files are not there.

        Raises:
            ScoreliftError: if they are not.
        """
        if not component.startswith("tokenizer"):
            self.config(component)
        elif not (self.folder / component).is_dir():
            raise bad("prior", expected=f"its {component} in {self.folder}", got="no such folder",
                      remedy="Its download may be incomplete.")  # fmt: skip

    def variant(self, component: str) -> str | None:
        """The variant to ask diffusers for ("fp16") where there are no plain weights.

        Raises:
            ScoreliftError: if the component has no weights, not all of them, or only pickles.
        """
        return self._chosen(component)[0] or None

    @contextmanager
    def explained(self, component: str) -> Iterator[None]:
        """Within, what diffusers says against a component is one sentence.

        Raises:
            ScoreliftError: with it.
        """
        try:
            yield
        except (OSError, ValueError, AttributeError, LookupError, TypeError, RuntimeError) as error:
            told = " ".join(str(error).split())[:300]
            raise ScoreliftError(f"prior: the {component} in {self.folder} cannot be loaded ({told}).") from error

    def check_whole(self, component: str, told: dict[str, Any]) -> None:
        """Raise for weights that a network needs and its files have not, or not of its shape.

        Args:
            told: what diffusers or transformers says of the loading.
        """
        lacking = sorted(told.get("missing_keys") or ())
        odd = sorted(entry[0] for entry in told.get("mismatched_keys") or ())
        if lacking or odd:
            what = f"lacks {len(lacking)} of its weights" if lacking else f"has {len(odd)} weights of another shape"
            raise ScoreliftError(
                f"prior: the {component} in {self.path(component)} {what} ({', '.join((lacking or odd)[:3])}). "
                "The download may be incomplete, or its config.json another model's."
            )

    def weights(self, component: str) -> list[Path]:
        """The files of a component's weights, of one variant.

        Raises:
            ScoreliftError: as `variant`.
        """
        return [self.path(component) / name for name in self._chosen(component)[1] if name.endswith(SAFE)]

    def _chosen(self, component: str) -> tuple[str, list[str]]:
        """The variant that is read, and its files."""
        path = self.path(component)
        names = [file.name for file in sorted(path.iterdir())]
        sets = whole_variants(names)
        if (variant := pick(sets)) is not None:
            return variant, sets[variant]
        files = [name for name in names if name.endswith(WEIGHTS)]
        if not files:
            raise bad("prior", expected=f"weights of its {component}", got=f"none in {path}",
                      remedy="Its download may be incomplete.")  # fmt: skip
        if any(name.endswith(SAFE) for name in files):
            raise bad("prior", expected=f"all weights of its {component}", got=f"some in {path}",
                      remedy="Its download may be incomplete.")  # fmt: skip
        raise ScoreliftError(
            f"prior: the weights in {path} are pickles ({files[0]}), which can run code. "
            + conversion(str(self.folder), f"{self.folder}-safe")
        )

    def fingerprint(self, components: Sequence[str]) -> str:
        """A short name for the content of some components, and of all that the checkpoint says of itself."""
        digest = hashlib.sha256(json.dumps(self.index, sort_keys=True).encode())
        for config in sorted(self.folder.glob("*/config.json")):
            digest.update(config.read_bytes())
        for component in components:
            digest.update(f"{component}/{content(self.path(component))}".encode())
        return digest.hexdigest()[:16]


def number(config: Mapping[str, Any], component: str, name: str, kind: Any = int) -> Any:
    """A field of a component's configuration that must be a number above 0.

    Args:
        kind: of the number.

    Raises:
        ScoreliftError: if it is none.
    """
    value = config.get(name)
    if isinstance(value, bool) or not isinstance(value, kind) or value <= 0:
        raise bad("prior", expected=f"a number above 0 as {name} in the configuration of its {component}", got=value)
    return value


def side(config: Mapping[str, Any], component: str) -> int:
    """Height and width of what a network was trained at.

    Raises:
        ScoreliftError: if its configuration does not say it, or says two.
    """
    size = config.get("sample_size")
    if isinstance(size, list | tuple):
        if len(size) != 2 or size[0] != size[1]:
            raise bad("prior", expected=f"a square sample_size in the configuration of its {component}", got=size)
        config = {"sample_size": size[0]}
    return cast(int, number(config, component, "sample_size"))


def vae_factor(config: Mapping[str, Any]) -> int:
    """Pixels a latent is wide.

    Raises:
        ScoreliftError: if the autoencoder's configuration does not say it.
    """
    widths = config.get("block_out_channels")
    if not isinstance(widths, list | tuple) or not widths:
        raise bad("prior", expected="a list as block_out_channels in the configuration of its vae", got=widths)
    return 1 << (len(widths) - 1)


def tensor_shapes(file: Path) -> dict[str, list[int]]:
    """The shapes of a file of weights, by their names, as its header has them.

    Raises:
        ScoreliftError: if the file is damaged.
    """
    try:
        with file.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > HEADER_LIMIT:
                raise ValueError(f"a header of {size} bytes")
            header = json.loads(stream.read(size))
        return {name: entry["shape"] for name, entry in header.items() if name != "__metadata__"}
    except (OSError, ValueError, KeyError, struct.error) as error:
        raise ScoreliftError(f"prior: {file} is damaged ({error}). Download it again.") from error


def content(path: Path) -> str:
    """A short name for a file's or folder's content: names, sizes, small files whole, and the ends of large ones."""
    digest = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        size = file.stat().st_size
        digest.update(f"{file.name}/{size}".encode())
        with file.open("rb") as stream:
            stream.seek(max(0, size - (1 << 20)))
            digest.update(stream.read())
    return digest.hexdigest()[:16]


def _read(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ScoreliftError(f"prior: {path} cannot be read ({error}).") from error
    if not isinstance(value, dict):
        raise bad("prior", expected=f"an object in {path}", got=type(value).__name__)
    return value
