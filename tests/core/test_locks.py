"""Folders that one process has, and what another is told."""

import errno
import json
import os
import socket
import subprocess
import sys

import pytest

from scorelift.core import locks
from scorelift.core.errors import ScoreliftError
from scorelift.core.locks import LOCK, alone, is_empty

HOLD = """
import sys
from pathlib import Path
from scorelift.core.locks import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that has a folder."""
    words = [sys.executable, "-c", HOLD, str(tmp_path / "r")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_who_has_a_folder_is_told_and_what_to_do(tmp_path, holder):
    wanted = (
        f"out: expected a folder in which no other process works, got '{tmp_path / 'r'}, where process {holder.pid} on"
    )
    for _ in range(2):
        with pytest.raises(ScoreliftError) as error, alone(tmp_path / "r"):
            raise AssertionError
        assert str(error.value).startswith(wanted)
        assert str(error.value).endswith("Wait until it has ended, or choose another --out.")
    assert json.loads((tmp_path / "r" / LOCK).read_text()) == {"pid": holder.pid, "host": socket.gethostname()}
    holder.stdin.close()
    assert holder.wait() == 0
    assert not (tmp_path / "r").exists()  # it was made for the lock, and is empty


def test_what_a_killed_process_had_is_free(tmp_path, holder):
    holder.kill()
    holder.wait()
    assert (tmp_path / "r" / LOCK).exists()
    assert is_empty(tmp_path / "r")
    with alone(tmp_path / "r"):
        assert json.loads((tmp_path / "r" / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / "r" / LOCK).exists()


def test_one_process_has_it_once(tmp_path):
    with alone(tmp_path), pytest.raises(ScoreliftError, match=f"where process {os.getpid()} on"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"pid": 1, "host": "elsewhere"}'])
def test_a_file_that_nobody_has_locked_means_nothing(tmp_path, content):
    (tmp_path / LOCK).write_text(content)
    with alone(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
        if content:
            (tmp_path / LOCK).write_text(content)
        with (
            pytest.raises(ScoreliftError, match=r"where (another one|process \d+ on \S+) does'\. Wait"),
            alone(tmp_path),
        ):
            pass


def test_folders_that_were_made_go_if_they_are_empty_and_others_stay(tmp_path):
    (tmp_path / "mine").mkdir()
    for inner in ("mine", "new/a/b"):
        with pytest.raises(KeyError), alone(tmp_path / inner):
            raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    with alone(tmp_path / "new" / "a"):
        (tmp_path / "new" / "kept").write_text("")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["kept"]


def test_a_lock_that_was_removed_while_it_was_waited_for_is_no_lock(tmp_path, monkeypatch):
    lock, calls = locks._lock, []

    def late(file):
        if not calls:
            (tmp_path / LOCK).unlink()  # as its holder does when it ends
        calls.append(file)
        lock(file)

    monkeypatch.setattr(locks, "_lock", late)
    with alone(tmp_path):
        assert len(calls) == 2
        assert (tmp_path / LOCK).stat().st_ino == os.fstat(calls[1].fileno()).st_ino


def test_where_there_are_no_locks_work_goes_on(tmp_path, monkeypatch):
    def none(file):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks, "_lock", none)
    with alone(tmp_path):
        assert (tmp_path / LOCK).exists()
    assert not (tmp_path / LOCK).exists()


def test_what_cannot_be_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/r"):
        with pytest.raises(ScoreliftError, match="out: expected a path through folders"), alone(tmp_path / place):
            pass
    (tmp_path / LOCK).mkdir()
    with pytest.raises(ScoreliftError, match="out: expected a folder that can be written"), alone(tmp_path):
        pass
