import asyncio
import builtins
import importlib.util
import socket
import time
import urllib.request

import pytest
from boxes import begin, finish, save

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.engine.run import Run
from scorelift.recipes import find_recipe
from scorelift.studio.server import Studio, check_port, serve


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def told(capsys, *words: str) -> str:
    assert main(["studio", *words]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    return error


def test_without_viser_it_says_how_to_install_it(finished_box, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "viser" else real(name, *more))
    assert "pip install '.[studio]'" in told(capsys, str(finished_box.path))


def test_viser_is_loaded_late(monkeypatch, tmp_path):
    """The rest of the command line does not need it."""
    real = builtins.__import__

    def without(name, *more, **others):
        assert not name.startswith("viser")
        return real(name, *more, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    assert main(["recipes"]) == 0


def test_bad_input(finished_box, tmp_path, capsys):
    pytest.importorskip("viser")
    run, port = str(finished_box.path), str(free_port())
    assert "a folder made by" in told(capsys, str(tmp_path / "none"), "--port", port)
    Run.create(tmp_path / "flat", "a red box", find_recipe("canvas"))
    assert "makes flat pictures" in told(capsys, str(tmp_path / "flat"), "--port", port)
    assert "port: expected a whole number from 1" in told(capsys, run, "--port", "0")
    assert "host" in told(capsys, run, "--host", "no.such.host.invalid", "--port", port)
    assert "--source" in told(capsys, run, "--source", "photo")
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(port)))
        other.listen(1)
        assert "one that is free" in told(capsys, run, "--port", port)
        assert "Choose another --port." in told(capsys, run, "--port", port)
    bare = begin(tmp_path / "bare")
    finish(bare)
    (bare.path / "asset.glb").unlink()
    assert "asset.glb" in told(capsys, str(bare.path), "--source", "mesh", "--port", port)


def test_a_port_of_nobody():
    with pytest.raises(ScoreliftError, match="port"):
        check_port("127.0.0.1", 70000)


def test_the_server_answers_and_watches(tmp_path):
    pytest.importorskip("viser")
    run, port = begin(tmp_path / "r"), free_port()
    studio = Studio(run.path, port=port)
    try:
        with urllib.request.urlopen(studio.url, timeout=10) as page:
            assert page.status == 200
            assert b"<html" in page.read().lower()
        assert not studio.look_again()
        save(run, 10)
        assert studio.look_again()
        with pytest.raises(ScoreliftError, match="one that is free"):
            Studio(run.path, port=port)
    finally:
        studio.close()
    Studio(run.path, port=port).close()  # the port is free again


def test_a_visitor_of_the_real_server(finished_box):
    """What the browser does, over its own protocol: it tells its camera, and is sent controls and a picture."""
    viser = pytest.importorskip("viser")
    from websockets.sync.client import connect

    port = free_port()
    studio = Studio(finished_box.path, port=port)
    try:
        import msgspec

        with connect(f"ws://127.0.0.1:{port}", subprotocols=[f"viser-v{viser.__version__}"], max_size=None) as browser:
            camera = {
                "type": "ViewerCameraMessage", "wxyz": (0.5, -0.5, -0.5, 0.5), "position": (3.0, 0.0, 0.0), "fov": 0.8,
                "image_height": 90, "image_width": 160, "near": 0.01, "far": 100.0, "look_at": (0.0, 0.0, 0.0),
                "up_direction": (0.0, 0.0, 1.0),
            }  # fmt: skip
            browser.send(msgspec.msgpack.encode(camera))
            deadline = time.monotonic() + 30
            while not studio.visitors and time.monotonic() < deadline:
                time.sleep(0.05)
            (visitor,) = studio.visitors.values()
            while not visitor.text.content and time.monotonic() < deadline:
                time.sleep(0.05)
            assert visitor.view().aspect == pytest.approx(160 / 90)
            assert "The run is finished" in visitor.text.content
            assert visitor.checkpoint.options == ("newest", "field, step 40")
        while studio.visitors and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not studio.visitors  # it has left
    finally:
        studio.close()


def test_pages_of_other_servers_see_nothing(finished_box):
    viser = pytest.importorskip("viser")
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    port = free_port()
    studio = Studio(finished_box.path, port=port)
    try:
        address, asked = f"ws://127.0.0.1:{port}", {"subprotocols": [f"viser-v{viser.__version__}"], "max_size": None}
        with connect(address, origin="https://example.com", **asked) as browser, pytest.raises(ConnectionClosed) as end:
            browser.recv(timeout=30)
        assert end.value.rcvd.code == 1008
        with connect(address, origin=f"http://127.0.0.1:{port}", **asked) as browser:
            assert browser.recv(timeout=30)
    finally:
        studio.close()


def test_nobody_gets_a_public_address(finished_box, monkeypatch):
    viser = pytest.importorskip("viser")
    asked = []
    monkeypatch.setattr(viser.ViserServer, "request_share_url", lambda server: asked.append(server))
    studio = Studio(finished_box.path, port=free_port())
    try:
        message = viser._messages.ShareUrlRequest()
        asyncio.run(studio.server._websock_server._handle_incoming_message(0, message))
        studio.server._thread_executor.submit(lambda: None).result()
    finally:
        studio.close()
    assert not asked


def test_it_ends_with_ctrl_c(finished_box, monkeypatch, capsys):
    pytest.importorskip("viser")

    def pressed(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("scorelift.studio.server.time.sleep", pressed)
    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        serve(finished_box.path, port=free_port(), say=said.append)
    assert said[0].startswith("http://127.0.0.1:")
    assert "step 40 of 40" in said[1]
    assert main(["studio", str(finished_box.path), "--port", str(free_port())]) == 0
    assert "closed" in capsys.readouterr().out
