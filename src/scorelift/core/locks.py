"""One process at a time in a folder, by a lock that the system lets go of when its holder ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import bad, reason
from .files import check_folder

LOCK = "in-use.json"
"The locked file: number and machine of the process that works in its folder. One that nobody has locked means nothing."
_PLACE = 1 << 30
"Of the byte that is locked where systems lock bytes: far behind those that others read."


@contextmanager
def alone(folder: Path, name: str = "out") -> Iterator[None]:
    """Keep a folder to this process. It is made, with those above it; what is empty at the end is removed again.

    Where the file system knows no locks, nothing is kept from others.

    Raises:
        ScoreliftError: if another process has it, or if it cannot be written.
    """
    check_folder(folder, name)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = _opened(folder / LOCK)
        except OSError as error:
            raise bad(name, expected="a folder that can be written", got=str(folder),
                      remedy=f"({reason(error)})") from error  # fmt: skip
        if file is None:
            raise bad(name, expected="a folder in which no other process works",
                      got=f"{folder}, where {_holder(folder / LOCK)} does",
                      remedy="Wait until it has ended, or choose another --out.")  # fmt: skip
        try:
            yield
        finally:
            _release(file, folder / LOCK)
    finally:
        for path in made:
            with suppress(OSError):  # there is something in it
                path.rmdir()


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing, or nothing but a lock."""
    return all(path.name == LOCK for path in folder.iterdir())


def _opened(path: Path) -> IO[bytes] | None:
    """The file, locked; None if another process has locked it."""
    while True:
        file = path.open("a+b")
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            file.close()
            return None
        except OSError:  # no locks here
            pass
        if os.fstat(file.fileno()).st_nlink:
            break
        file.close()  # whoever had it has just removed it
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode() + b"\n")
    file.flush()
    return file


def _release(file: IO[bytes], path: Path) -> None:
    if sys.platform == "win32":  # which removes no open file: not this one, nor one that somebody else has opened since
        file.close()
    with suppress(OSError):
        path.unlink()
    file.close()


def _holder(path: Path) -> str:
    """Who has locked a file, in words."""
    try:
        told = json.loads(path.read_bytes())
        return f"process {told['pid']} on {told['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another one"


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(_PLACE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
