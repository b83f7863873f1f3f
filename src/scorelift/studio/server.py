"""The server of the viewer: it opens a port, welcomes visitors and watches the run. viser is imported here alone."""

from __future__ import annotations

import io
import math
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..core.errors import ScoreliftError, bad, check_choice, check_library, reason
from ..engine.outputs import load_asset
from ..engine.run import Run
from ..export.shots import Shot
from .visitor import Source, Visitor
from .watching import Shelf, Watch

POLL_S = 1.0


class Studio:
    """A server for one run.

    Args:
        path: the run's folder.
        host: the address to listen at; "127.0.0.1" is seen from this machine alone, "0.0.0.0" from everywhere.
        source: what visitors see first.

    Raises:
        ScoreliftError: without viser; for a folder that is no run, or one of flat pictures; for a finished run without
            a mesh where that is asked for; for a port that is taken.
    """

    def __init__(
        self, path: str | Path, *, host: str = "127.0.0.1", port: int = 8080, source: Source = "scene"
    ) -> None:
        check_library("studio", "viser", "studio")
        check_choice("source", source, ("scene", "mesh"))
        path = Path(path)
        self.watch, self.shelf = Watch(path), Shelf(path)
        if source == "mesh" and self.watch.news.finished:
            load_asset(Run.open(path))
        check_port(host, port)
        self.visitors: dict[int, Visitor] = {}
        self.server = _open(host, port)
        name = "localhost" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        self.url = f"http://{name}:{port}"
        camera = Shot().camera()
        self.server.initial_camera.position = tuple(camera.position[0].tolist())
        self.server.initial_camera.look_at = (0.0, 0.0, 0.0)
        self.server.initial_camera.fov = math.radians(float(camera.fovy_deg[0]))

        @self.server.on_client_connect
        def _(client: Any) -> None:
            visitor = Visitor(client, self.watch, self.shelf, source)
            self.visitors[client.client_id] = visitor
            visitor.start()

        @self.server.on_client_disconnect
        def _(client: Any) -> None:
            visitor = self.visitors.pop(client.client_id, None)
            if visitor is not None:
                visitor.close()

    def look_again(self) -> bool:
        """Look at the run's folder, and tell the visitors what is new; returns whether anything is."""
        new = self.watch.again()
        for visitor in list(self.visitors.values()) if new else ():
            visitor.heard()
        return new

    def close(self) -> None:
        """Stop the server."""
        for visitor in list(self.visitors.values()):
            visitor.close()
        with redirect_stdout(io.StringIO()):  # viser says so, too
            self.server.stop()


def serve(
    path: str | Path, *, host: str = "127.0.0.1", port: int = 8080, source: Source = "scene",
    say: Callable[[str], None] = lambda text: None,
) -> None:  # fmt: skip
    """Show a run in the browser until Ctrl-C, which ends it as a KeyboardInterrupt.

    Args:
        say: is given lines for people: the address, and news of the run.

    Raises:
        ScoreliftError: as `Studio`.
    """
    studio = Studio(path, host=host, port=port, source=source)
    try:
        say(f"{studio.url}  shows {path}; Ctrl-C ends it")
        say(_news(studio.watch))
        while True:
            time.sleep(POLL_S)
            if studio.look_again():
                say(_news(studio.watch))
    finally:
        studio.close()


def _news(watch: Watch) -> str:
    return "  " + watch.news.told(watch.news.pick(""))


def check_port(host: str, port: int) -> None:
    """Raise unless a server can listen there."""
    if not 1 <= port <= 65535:
        raise bad("port", expected="a whole number from 1 to 65535", got=port)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise bad("host", expected="an address of this machine", got=host, remedy=f"({reason(error)})") from error
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
                probe.listen(1)
            except PermissionError as error:
                raise bad("port", expected="one that this user may open", got=port) from error
            except OverflowError as error:
                raise bad("port", expected="a whole number from 1 to 65535", got=port) from error
            except OSError as error:
                taken = "choose another --port." if "in use" in str(error).lower() else f"({reason(error)})"
                raise bad("port", expected=f"one that is free at {host}", got=port,
                          remedy=f"{taken[0].upper()}{taken[1:]}") from error  # fmt: skip


def _open(host: str, port: int) -> Any:
    """A viser server, at that port and no other."""
    import viser

    # A picture may be under way to a visitor who has just left.
    warnings.filterwarnings("ignore", "Queued a .* on a closed connection", UserWarning)
    with redirect_stdout(io.StringIO()):  # its own table of addresses
        server = viser.ViserServer(host=host, port=port, label="scorelift", verbose=False)
        if server.get_port() != port:  # taken since it was looked at
            server.stop()
            raise ScoreliftError(f"port: expected one that is free at {host}, got {port}. Choose another --port.")
    _keep_private(server)
    server.gui.configure_theme(show_logo=False, show_share_button=False)
    server.gui.main_panel.dock_right()
    return server


def _keep_private(server: Any) -> None:
    """Refuse browsers that show a page of another server, and requests for a public address, which viser grants anyone.

    Without it any website open in a visitor's browser could connect to this machine and read the run.
    """
    from viser import _messages

    sockets = server._websock_server

    async def check(client: Any) -> None:
        connection = sockets._live_connections[client.client_id]
        if not is_own(connection.request.headers):
            await connection.close(1008, "a page of another server")

    sockets._client_connect_cb.insert(0, check)  # before viser's own, so that nothing is sent
    sockets.unregister_handler(_messages.ShareUrlRequest)
    sockets.disconnect_all_clients()  # who came before this; own pages connect again


def is_own(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from a page of the server it asks, or from no page at all.

    >>> is_own({"Host": "localhost:8080", "Origin": "http://localhost:8080"}), is_own({"Host": "localhost:8080"})
    (True, True)
    >>> is_own({"Host": "localhost:8080", "Origin": "https://example.com"})
    False
    """
    origin = headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == headers.get("Host")
