"""Commands that show and draw the closed world."""

from __future__ import annotations

from pathlib import Path

from tyro.conf import Positional

from ..core.errors import check_at_least, check_seed


def toybox_show(*, out: Path = Path("toybox.png"), captions: int = 0, seed: int = 0, size: int = 64) -> None:
    """Write a contact sheet of the closed world with captions.

    Args:
        out: PNG to write.
        captions: Show so many random captions; 0 shows every kind of object once.
        seed: Of the random captions.
        size: Height and width of each picture.
    """
    from ..core.files import check_out
    from ..core.pictures import write_png
    from ..toybox.sheet import kinds_sheet, random_sheet

    check_at_least("captions", captions, 0)
    check_seed(seed)
    check_out(out, ".png")
    picture = random_sheet(captions, seed, size) if captions else kinds_sheet(size)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_png(out, picture)
    print(out)


def toybox_words() -> None:
    """List the words the closed world knows."""
    from ..toybox.accessories import ACCESSORIES
    from ..toybox.grammar import FILLERS, known_words
    from ..toybox.palette import COLOUR_NAMES
    from ..toybox.spec import FINISHES, SUPPORTS
    from ..toybox.toys import KINDS

    print("objects:    ", ", ".join(KINDS))
    print("colours:    ", ", ".join(COLOUR_NAMES))
    print("finishes:   ", ", ".join(FINISHES))
    print("accessories:", ", ".join(ACCESSORIES), "(on", ", ".join(k for k, v in KINDS.items() if v.head), ")")
    print("supports:   ", ", ".join(SUPPORTS), "('a duck on a table')")
    print("adjectives: ", ", ".join(FILLERS), "(without effect)")
    print("all words:  ", ", ".join(sorted(known_words())))


def toybox_render(
    folder: Positional[Path],
    /,
    *,
    shards: int = 26,
    first: int = 0,
    seed: int = 1,
    held_out: bool = False,
    textureless: bool = False,
    crops: bool = False,
) -> None:
    """Trace shards of pictures for training, 8,192 each (2,048 crops); those that exist are kept.

    Args:
        folder: Where the shards go.
        shards: How many.
        first: Index of the first.
        seed: Of the world drawn; the prior trains on seed 1, the judge on seed 2.
        held_out: Also draw the combinations that the prior's training set leaves out.
        textureless: Shapes without their colours.
        crops: Parts of large pictures, which the refiner trains on.
    """
    from ..core.files import check_folder
    from ..engine.progress import Progress
    from ..toybox.data import CROP_SHARD, SHARD, render_shard

    check_at_least("shards", shards)
    check_at_least("first", first, 0)
    check_seed(seed)
    check_folder(folder, "folder")
    progress = Progress(shards * (CROP_SHARD if crops else SHARD))

    def count(n: int) -> None:
        progress.done += n - 1
        progress.step("pictures traced")

    for index in range(first, first + shards):
        render_shard(folder, index, seed=seed, train=not held_out, textureless=textureless, crops=crops, on_batch=count)
    progress.close()
