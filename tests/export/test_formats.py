import json
import shutil
import struct
import subprocess
from io import BytesIO

import av
import numpy as np
import pytest
import trimesh
from PIL import Image

import scorelift
from scorelift.core.errors import ScoreliftError
from scorelift.export.gltf import from_glb, to_glb
from scorelift.export.obj import to_obj
from scorelift.export.pictures import write_mp4
from scorelift.export.ply import to_ply
from scorelift.export.report import curve, report_html
from scorelift.export.stl import to_stl
from scorelift.export.texture import Asset
from scorelift.recipes import find_recipe


@pytest.fixture
def asset() -> Asset:
    """Two triangles: a square facing +x, red on its left half (+y), blue on its right."""
    vertices = np.array([[0.5, -1, -1], [0.5, 1, -1], [0.5, 1, 1], [0.5, -1, 1]], np.float32)
    normals = np.tile(np.array([[1, 0, 0]], np.float32), (4, 1))
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    albedo = np.zeros((8, 8, 3), np.uint8)
    albedo[:, 4:, 0], albedo[:, :4, 2] = 200, 200
    albedo[0] = 255  # the top row: largest v, largest z
    return Asset(vertices, normals, uv, faces, albedo)


def same(a: Asset, b: Asset) -> None:
    for name in ("vertices", "normals", "uv"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-6)
    np.testing.assert_array_equal(a.faces, b.faces)
    np.testing.assert_array_equal(a.albedo, b.albedo)


def test_glb_comes_back(asset):
    same(from_glb(to_glb(asset, "square")), asset)


def test_stl_is_read_by_others_with_the_axes_of_obj_and_ply(asset):
    data = to_stl(asset)
    assert len(data) == 84 + 50 * len(asset.faces)
    mesh, ply = (trimesh.load(BytesIO(d), file_type=kind) for d, kind in ((data, "stl"), (to_ply(asset), "ply")))
    np.testing.assert_allclose(mesh.triangles, ply.triangles, atol=1e-6)
    np.testing.assert_allclose(mesh.face_normals, [[0, 0, 1], [0, 0, 1]], atol=1e-6)
    np.testing.assert_allclose(np.frombuffer(data, "<f4", 3, offset=84), [0, 0, 1], atol=1e-6)


def test_glb_axes_material_and_picture_as_others_read_them(asset):
    mesh = trimesh.load(BytesIO(to_glb(asset, "square")), file_type="glb", process=False).geometry["square"]
    # The front (+x) becomes +z, up stays up as +y, the object's left (+y) becomes +x.
    np.testing.assert_allclose(mesh.vertices[2], [1, 1, 0.5], atol=1e-6)
    np.testing.assert_allclose(mesh.face_normals, [[0, 0, 1], [0, 0, 1]], atol=1e-6)
    material = mesh.visual.material
    assert material.metallicFactor == 0
    assert material.roughnessFactor == 1
    picture = np.asarray(material.baseColorTexture.convert("RGB"))
    np.testing.assert_array_equal(picture, asset.albedo)
    # trimesh's uv has its origin below, as ours.
    np.testing.assert_allclose(mesh.visual.uv, asset.uv, atol=1e-6)


def test_glb_is_laid_out_as_the_standard_says(asset):
    data = to_glb(asset, "square")
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    document = json.loads(data[20 : 20 + size])
    assert kind == b"JSON"
    assert size % 4 == 0
    assert all(view["byteOffset"] % 4 == 0 for view in document["bufferViews"])
    assert document["accessors"][0]["max"] == [1, 1, 0.5]


def test_foreign_files_are_refused():
    for data in (b"", b"PK\x03\x04" + b"\0" * 40):
        with pytest.raises(ScoreliftError, match="GLB"):
            from_glb(data)


def test_obj_comes_back(asset, tmp_path):
    for name, data in to_obj(asset, "thing").items():
        (tmp_path / name).write_bytes(data)
    mesh = trimesh.load(tmp_path / "thing.obj", process=False)
    np.testing.assert_allclose(mesh.vertices[2], [1, 1, 0.5], atol=1e-5)
    np.testing.assert_allclose(mesh.visual.uv, asset.uv, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(mesh.visual.material.image.convert("RGB")), asset.albedo)


def test_ply_comes_back_with_colours(asset):
    mesh = trimesh.load(BytesIO(to_ply(asset)), file_type="ply", process=False)
    np.testing.assert_array_equal(mesh.faces, asset.faces)
    np.testing.assert_allclose(mesh.vertices[1], [1, -1, 0.5], atol=1e-6)
    assert mesh.visual.vertex_colors[1, :3].tolist() == [200, 0, 0]
    assert mesh.visual.vertex_colors[0, :3].tolist() == [0, 0, 200]


def test_video_plays_back(tmp_path):
    frames = [np.full((32, 48, 3), 20 * i, np.uint8) for i in range(10)]
    write_mp4(tmp_path / "v.mp4", frames)
    with av.open(str(tmp_path / "v.mp4")) as container:
        back = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(back) == 10
    assert back[0].shape == (32, 48, 3)
    assert abs(float(back[8].mean()) - 160) < 12
    assert list(tmp_path.iterdir()) == [tmp_path / "v.mp4"]


def test_a_video_is_the_same_each_time(tmp_path):
    """Looking ahead, x264 comes to other choices each time, at least on CPUs with wide vectors."""
    ramp = np.add.outer(np.arange(96), np.arange(96))[..., None] + np.array([0, 40, 80])
    frames = [(127 + 90 * np.sin((ramp + 3 * i) / 9)).astype(np.uint8) for i in range(30)]
    for k in range(4):
        write_mp4(tmp_path / f"{k}.mp4", frames)
    assert len({(tmp_path / f"{k}.mp4").read_bytes() for k in range(4)}) == 1


def test_the_report_of_flat_pictures_speaks_of_no_sides(asset, tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "preview.png")
    assert "Rows: colour" not in report_html(tmp_path, "x", {}, {}, [])
    (tmp_path / "asset.glb").write_bytes(to_glb(asset, "x"))
    assert "Rows: colour" in report_html(tmp_path, "x", {}, {}, [])


def test_report_is_one_file_and_safe(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "preview.png")
    log = [{"stage": "coarse", "gradient": 1.0 / (i + 1), "opacity": 0.1 * i} for i in range(5)]
    page = report_html(tmp_path, "<b>a & b</b>", {"seed": 3}, {"x": 1}, log)
    assert "&lt;b&gt;a &amp; b&lt;/b&gt;" in page
    assert "data:image/png;base64," in page
    assert 'src="http' not in page
    assert "coarse: gradient" in page
    assert curve("t", [1.0]) == ""


@pytest.mark.skipif(shutil.which("node") is None or shutil.which("npm") is None, reason="node is not installed")
def test_glbs_pass_the_khronos_validator(asset, tmp_path):
    """One made by hand, and one as a run leaves it."""
    run = scorelift.generate(
        "a red mushroom", recipe=find_recipe("quick").with_steps(3), out=tmp_path / "r", quiet=True
    )
    (tmp_path / "a.glb").write_bytes(to_glb(asset, "square"))
    validate([tmp_path / "a.glb", run.path / "asset.glb"], tmp_path)


def validate(glbs, folder) -> None:
    """Run the Khronos validator, installed into `folder`, and require that it finds nothing wrong."""
    installed = subprocess.run(
        ["npm", "install", "--silent", "--prefix", str(folder), "gltf-validator@2.0.0-dev.3.10"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"gltf-validator cannot be installed: {installed.stderr[-200:]}")
    script = (
        "const v=require('gltf-validator');v.validateBytes(new Uint8Array(require('fs').readFileSync(process.argv[1])))"
        ".then(r=>console.log(JSON.stringify(r.issues)))"
    )
    for glb in glbs:
        done = subprocess.run(["node", "-e", script, str(glb)], cwd=folder, capture_output=True, text=True, check=True)
        issues = json.loads(done.stdout)
        assert issues["numErrors"] == issues["numWarnings"] == 0, (glb, issues)
