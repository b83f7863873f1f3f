"""The hub on this machine: a server with one repository, for the hub's own client."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import huggingface_hub.constants as hub
import pytest

COMMIT = "0123456789" * 4


@contextmanager
def serve(repository: str, files: dict[str, bytes], cache: Path, lost: Sequence[str] = ()) -> Iterator[list[str]]:
    """Within, the hub is here, its cache in `cache`; yields the files that are fetched, which `lost` ones cannot be."""
    fetched: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            place = self.path.partition("?")[0].removeprefix("/")
            file = place.removeprefix(f"{repository}/resolve/{COMMIT}/")
            if place == f"api/models/{repository}/revision/main":
                self.say(json.dumps({"id": repository, "sha": COMMIT, "siblings": []}).encode())
            elif place == f"api/models/{repository}/tree/{COMMIT}":
                self.say(json.dumps([{"type": "file", "path": name, "size": len(data), "oid": name_of(data)}
                                     for name, data in files.items()]).encode())  # fmt: skip
            elif file in files and file not in lost:
                if self.command == "GET":
                    fetched.append(file)
                self.say(files[file], {"ETag": f'"{name_of(files[file])}"', "X-Repo-Commit": COMMIT})
            else:
                self.send_error(404)

        do_HEAD = do_GET  # noqa: N815

        def say(self, data: bytes, headers: dict[str, str] | None = None) -> None:
            self.send_response(200)
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
