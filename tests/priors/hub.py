"""The hub on this machine: a server with one repository, for the hub's own client; its weights are large files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import huggingface_hub.constants as hub
import pytest
from huggingface_hub.errors import HfHubHTTPError

COMMIT = "0123456789" * 4


class Response:
    """What the hub's errors ask of an answer."""

    headers: ClassVar[dict] = {}
    request = None
    status_code = 404


def refuse(kind: type[HfHubHTTPError]) -> Callable[..., None]:
    """A hub that answers everything with one error."""

    def answer(repository: str, **_: object) -> None:
        raise kind(f"no {repository}", response=Response())

    return answer


@contextmanager
def serve(repository: str, files: dict[str, bytes], cache: Path, lost: Sequence[str] = (),
          spoilt: Sequence[str] = ()) -> Iterator[list[str]]:  # fmt: skip
    """Within, the hub is here, its cache in `cache`.

    Args:
        lost: files that are listed and cannot be fetched.
        spoilt: files that come with another content than the list says.

    Yields:
        The files that are fetched.
    """
    fetched: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = self.path.partition("?")[0].removeprefix("/")
            file = place.removeprefix(f"{repository}/resolve/{COMMIT}/")
            if place == f"api/models/{repository}/revision/main":
                self.say(json.dumps({"id": repository, "sha": COMMIT, "siblings": []}).encode())
            elif place == f"api/models/{repository}/tree/{COMMIT}":
                self.say(json.dumps([entry(name, data) for name, data in files.items()]).encode())
            elif file in files and file not in lost:
                if self.command == "GET":
                    fetched.append(file)
                sent = files[file][::-1] if file in spoilt else files[file]
                self.say(sent, {"ETag": f'"{name_of(files[file])}"', "X-Repo-Commit": COMMIT})
            elif repository in place:
                self.send_error(404)
            else:
                self.say(b"", {"X-Error-Code": "RepoNotFound"}, 404)

        do_HEAD = do_GET  # noqa: N815

        def say(self, data: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hub, "ENDPOINT", address)
            patch.setattr(hub, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
            patch.setattr(hub, "HF_HUB_CACHE", str(cache))
            patch.setattr(hub, "HF_HUB_OFFLINE", False)
            yield fetched
    finally:
        server.shutdown()
        server.server_close()


def name_of(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


def entry(name: str, data: bytes) -> dict[str, object]:
    """What the hub's list says of a file."""
    large = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return {"type": "file", "path": name, "size": len(data), "oid": name_of(data),
            **({"lfs": large} if name.endswith(".safetensors") else {})}  # fmt: skip
