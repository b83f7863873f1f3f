"""What of a run there is to see, and the newest of it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from ..core.errors import ScoreliftError
from ..engine.outputs import check_solid, load_asset
from ..engine.results import scene_at
from ..engine.run import Run, checkpoint_parts
from ..export.texture import Asset
from ..scenes import Scene

NEWEST = "newest"


@dataclass(frozen=True)
class Mark:
    """A checkpoint."""

    path: Path
    stage: str
    step: int

    @property
    def label(self) -> str:
        """As visitors read it."""
        return f"{self.stage}, step {self.step}"


@dataclass(frozen=True)
class News:
    """What a run's folder holds at one moment."""

    marks: tuple[Mark, ...] = ()
    "Oldest first."
    steps: tuple[tuple[str, int], ...] = ()
    "Name and steps of each stage."
    finished: bool = False
    asset: float | None = None
    "When asset.glb was written; None: there is none."
    trouble: str = ""
    "Why the run cannot be read any more."

    @property
    def labels(self) -> list[str]:
        """What visitors may choose from."""
        return [NEWEST, *(mark.label for mark in reversed(self.marks))]

    def pick(self, label: str) -> Mark | None:
        """The checkpoint of a label; the newest if that is asked for, or if it is gone; None if there is none yet."""
        found = [mark for mark in self.marks if mark.label == label] or list(self.marks)
        return found[-1] if found else None

    def before(self, mark: Mark) -> Mark | None:
        """The checkpoint before one; None if that is the first."""
        older = [other for other in self.marks if other.path.name < mark.path.name]
        return older[-1] if older else None

    def told(self, mark: Mark | None) -> str:
        """One line about where the run stands, and what of it is shown."""
        if self.trouble:
            return self.trouble
        state = "finished" if self.finished else "running, or stopped"
        if mark is None:
            return "No checkpoint yet: waiting for the first, which a run leaves every 15 seconds."
        last = dict(self.steps).get(mark.stage)
        return f"Stage {mark.stage}, step {mark.step}{f' of {last}' if last else ''}. The run is {state}."


def look(path: Path) -> News:
    """What the folder of a run holds now.

    Raises:
        ScoreliftError: if it is no run, or one of flat pictures.
    """
    run = Run.open(path)
    check_solid(run, "studio")
    marks = []
    for file in run.checkpoints():
        _, stage, step = checkpoint_parts(file)
        marks.append(Mark(file, stage, step))
    steps = tuple((name, stage.steps) for name, stage in run.recipe.stages().items())
    return News(tuple(marks), steps, run.finished, _written(path / "asset.glb"))


def _written(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


class Watch:
    """A run's folder, looked at again and again."""

    def __init__(self, path: Path) -> None:
        self.path, self.news = path, look(path)
        run = Run.open(path)
        self.prompt, self.recipe = run.prompt, run.recipe.name

    def again(self) -> bool:
        """Look; returns whether there is news. A folder that has become unreadable is told, not raised."""
        before = self.news
        try:
            self.news = look(self.path)
        except (ScoreliftError, OSError) as error:
            self.news = News(before.marks, before.steps, before.finished, before.asset, str(error))
        return self.news != before


class Shelf:
    """Scenes and meshes of a run, read when they are asked for; the last few are kept. One reader at a time."""

    def __init__(self, path: Path, *, keep: int = 3) -> None:
        self.path, self.keep = path, keep
        self.lock = RLock()
        self._kept: OrderedDict[tuple[object, ...], Scene | Asset] = OrderedDict()

    def scene(self, mark: Mark) -> Scene:
        """The scene of a checkpoint, on the CPU, in colours, as is quickest to look at.

        Raises:
            DamagedError: if the checkpoint is damaged.
            ScoreliftError: if it is gone.
        """
        found = self._get((mark.path, _written(mark.path)), lambda: still(scene_at(Run.open(self.path), mark.path)))
        assert isinstance(found, Scene)
        return found

    def asset(self, written: float) -> Asset:
        """The mesh that was exported then.

        Raises:
            ScoreliftError: if it is gone or damaged.
        """
        found = self._get(("asset", written), lambda: load_asset(Run.open(self.path)))
        assert isinstance(found, Asset)
        return found

    def _get(self, key: tuple[object, ...], read: Callable[[], Scene | Asset]) -> Scene | Asset:
        with self.lock:
            if key not in self._kept:
                self._kept[key] = read()
            self._kept.move_to_end(key)
            while len(self._kept) > self.keep:
                self._kept.popitem(last=False)
            return self._kept[key]


def still(scene: Scene) -> Scene:
    """A scene as it is looked at: without gradients, in colours, on a grid where that is quicker."""
    return scene.to("cpu").requires_grad_(False).coloured().gridded().requires_grad_(False)
