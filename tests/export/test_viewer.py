"""The mesh in the report: it is in the page, and its viewer draws it as a browser would ask it to."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from scorelift.export.gltf import from_glb, to_glb
from scorelift.export.report import report_html
from scorelift.export.texture import Asset

HARNESS = """
const page = require("fs").readFileSync(0, "utf8");
const code = page.match(/<script defer>(.*?)<\\/script>/s)[1], glb = page.match(/octet-stream">(.*?)<\\/script>/s)[1];
const seen = { buffers: [], uniforms: {}, drawn: null, modes: [] };
const gl = new Proxy({}, { get: (_, name) => {
  if (name === "bufferData") return (_kind, data) => seen.buffers.push([data.constructor.name, [...data]]);
  if (name === "getProgramParameter") return () => true;
  if (name === "getUniformLocation") return (_program, uniform) => uniform;
  if (name === "uniformMatrix4fv") return (uniform, _, matrix) => { seen.uniforms[uniform] = matrix; };
  if (name === "uniform1i") return (_, mode) => seen.modes.push(mode);
  if (name === "drawElements") return (_kind, count) => { seen.drawn = count; };
  return /^[A-Z]/.test(name) ? name : () => ({});
} });
const buttons = [{}, {}, {}];
const canvas = { getContext: () => GLES ? gl : null, clientWidth: 40, clientHeight: 20, setPointerCapture() {} };
const figure = { hidden: true, querySelector: () => canvas, querySelectorAll: () => buttons };
Object.assign(globalThis, {
  addEventListener: (_, work) => work(), window: {}, matchMedia: () => ({ matches: true }),
  document: { getElementById: (id) => (id === "glb" ? { textContent: glb } : figure) },
  createImageBitmap: async (blob) => { seen.picture = [blob.type, blob.size]; return {}; },
  ResizeObserver: class { observe() {} }, requestAnimationFrame: (work) => work(0),
});
const GLES = process.argv[1] !== "none";
eval(code);
setTimeout(() => {
  const front = seen.uniforms.view;
  if (GLES) {
    canvas.onpointerdown({ pointerId: 1 });
    canvas.onpointermove({ buttons: 1, movementX: 60, movementY: 0 });
    canvas.onwheel({ deltaY: -100, preventDefault() {} });
    buttons[2].onclick();
  }
  console.log(JSON.stringify({ ...seen, front, hidden: figure.hidden }));
}, 50);
"""
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


@pytest.fixture
def asset() -> Asset:
    """A triangle about (0, 0, 5)."""
    vertices = np.array([[0, -1, 4], [0, 1, 4], [0, 0, 6]], np.float32)
    normals = np.tile(np.array([[1, 0, 0]], np.float32), (3, 1))
    uv = np.array([[0, 0], [1, 0], [0.5, 1]], np.float32)
    return Asset(vertices, normals, uv, np.array([[0, 1, 2]], np.int32), np.full((4, 4, 3), 99, np.uint8))


@pytest.fixture
def page(asset, tmp_path) -> str:
    (tmp_path / "asset.glb").write_bytes(to_glb(asset, "triangle"))
    return report_html(tmp_path, "a triangle", {}, {}, [])


def run(page: str, gl: str = "some") -> dict:
    done = subprocess.run(["node", "-e", HARNESS, gl], input=page, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_page_holds_the_mesh_and_asks_for_nothing_else(page, asset):
    data = re.search(r'octet-stream">(.*?)</script>', page).group(1)
    np.testing.assert_array_equal(from_glb(base64.b64decode(data)).vertices, asset.vertices)
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("</script>") == 2


def test_a_run_of_flat_pictures_has_no_viewer(tmp_path):
    assert "viewer" not in report_html(tmp_path, "a picture", {}, {}, []).split("</style>")[1]


@needs_node
def test_it_draws_the_mesh(page, asset):
    seen = run(page)
    assert not seen["hidden"]
    assert seen["drawn"] == 3
    kinds = [kind for kind, _ in seen["buffers"]]
    assert kinds == ["Float32Array"] * 3 + ["Uint32Array"]
    position, normal, uv, faces = (np.array(data) for _, data in seen["buffers"])
    np.testing.assert_allclose(position.reshape(-1, 3)[2], [0, 6, 0], atol=1e-6)  # up is +y there
    np.testing.assert_allclose(normal.reshape(-1, 3)[0], [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(uv.reshape(-1, 2)[2], [0.5, 0], atol=1e-6)
    assert faces.tolist() == [0, 1, 2]
    assert seen["picture"][0] == "image/png"


@needs_node
def test_its_camera_looks_at_the_middle_and_turns(page):
    seen = run(page)
    for matrix in (seen["front"], seen["uniforms"]["view"]):
        view = np.array(matrix).reshape(4, 4).T
        np.testing.assert_allclose(view[:3, :3] @ view[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(view[:3, :3]) == pytest.approx(1)
        middle = view @ [0, 5, 0, 1]
        np.testing.assert_allclose(middle[:2], 0, atol=1e-9)
        assert middle[2] < -1
    before, after = (np.array(m).reshape(4, 4).T for m in (seen["front"], seen["uniforms"]["view"]))
    assert (before @ [0, 5, 1, 1])[2] > (before @ [0, 5, -1, 1])[2]  # its front is nearer
    assert not np.allclose(before[:3, :3], after[:3, :3])  # dragged
    assert (after @ [0, 5, 0, 1])[2] > (before @ [0, 5, 0, 1])[2]  # and come nearer
    assert seen["modes"][-1] == 2


@needs_node
def test_without_webgl_it_stays_hidden(page):
    seen = run(page, "none")
    assert seen["hidden"]
    assert seen["drawn"] is None
