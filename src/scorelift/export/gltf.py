"""GLB, the one-file form of glTF 2.0. Axes are converted to glTF's: +y up, front +z."""

from __future__ import annotations

import json
import struct
from io import BytesIO

import numpy as np
from PIL import Image

from ..core.axes import TO_GLTF
from ..core.errors import DamagedError, ScoreliftError
from ..core.pictures import png_bytes
from .texture import Asset

_FLOAT, _UINT32 = 5126, 5125
_ARRAY, _ELEMENTS = 34962, 34963


def to_glb(asset: Asset, name: str) -> bytes:
    """A GLB with one mesh and one rough, non-metallic material that carries the baked albedo."""
    positions = np.ascontiguousarray(asset.vertices @ TO_GLTF.T, np.float32)
    normals = asset.normals @ TO_GLTF.T
    normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True).clip(1e-9)
    normals[np.abs(normals).sum(-1) < 0.5] = (0, 1, 0)
    uv = np.stack([asset.uv[:, 0], 1 - asset.uv[:, 1]], -1)  # glTF's v runs down
    chunks = [
        positions.tobytes(),
        np.ascontiguousarray(normals, np.float32).tobytes(),
        np.ascontiguousarray(uv, np.float32).tobytes(),
        np.ascontiguousarray(asset.faces, np.uint32).tobytes(),
        png_bytes(asset.albedo),
    ]
    targets = (_ARRAY, _ARRAY, _ARRAY, _ELEMENTS, None)
    body, views = b"", []
    for chunk, target in zip(chunks, targets, strict=True):
        views.append(
            {"buffer": 0, "byteOffset": len(body), "byteLength": len(chunk)} | ({"target": target} if target else {})
        )
        body += chunk + b"\0" * (-len(chunk) % 4)
    n, m = len(positions), asset.faces.size
    document = {
        "asset": {"version": "2.0", "generator": "scorelift"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": name, **_placement(asset)}],
        "meshes": [{"name": name, "primitives": [
            {"attributes": {"POSITION": 0, "NORMAL": 1, "TEXCOORD_0": 2}, "indices": 3, "material": 0}]}],
        "materials": [{"name": "albedo", "pbrMetallicRoughness": {
            "baseColorTexture": {"index": 0}, "metallicFactor": 0.0, "roughnessFactor": 1.0}}],
        "textures": [{"source": 0, "sampler": 0}],
        "samplers": [{"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}],
        "images": [{"bufferView": 4, "mimeType": "image/png"}],
        "accessors": [
            {"bufferView": 0, "componentType": _FLOAT, "count": n, "type": "VEC3",
             "min": positions.min(0).tolist(), "max": positions.max(0).tolist()},
            {"bufferView": 1, "componentType": _FLOAT, "count": n, "type": "VEC3"},
            {"bufferView": 2, "componentType": _FLOAT, "count": n, "type": "VEC2"},
            {"bufferView": 3, "componentType": _UINT32, "count": m, "type": "SCALAR"},
        ],
        "bufferViews": views,
        "buffers": [{"byteLength": len(body)}],
    }  # fmt: skip
    head = json.dumps(document, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 4)
    total = 12 + 8 + len(head) + 8 + len(body)
    return (struct.pack("<4sII", b"glTF", 2, total) + struct.pack("<I4s", len(head), b"JSON") + head
            + struct.pack("<I4s", len(body), b"BIN\0") + body)  # fmt: skip


def _placement(asset: Asset) -> dict[str, list[float]]:
    """What brings a node to where its asset lay in a file; nothing for others."""
    if asset.scale == 1 and not any(asset.centre):
        return {}
    return {"translation": (np.asarray(asset.centre) @ TO_GLTF.T).tolist(), "scale": [float(asset.scale)] * 3}


def from_glb(data: bytes) -> Asset:
    """Read back a GLB that `to_glb` wrote.

    Raises:
        ScoreliftError: if it is another file.
        DamagedError: if it is not whole.
    """
    if len(data) < 20 or data[:4] != b"glTF":
        raise ScoreliftError("glb: expected a GLB file, got something else.")
    if len(data) != (size := struct.unpack_from("<I", data, 8)[0]):
        raise DamagedError(f"glb: expected a file of {size} bytes, got {len(data)}.")
    length = struct.unpack_from("<I", data, 12)[0]
    document = json.loads(data[20 : 20 + length])
    if document["asset"].get("generator") != "scorelift":
        raise ScoreliftError("glb: expected a file written by scorelift.")
    body = data[20 + length + 8 :]

    def view(i: int) -> bytes:
        entry = document["bufferViews"][i]
        return body[entry["byteOffset"] : entry["byteOffset"] + entry["byteLength"]]

    positions = np.frombuffer(view(0), np.float32).reshape(-1, 3) @ TO_GLTF
    normals = np.frombuffer(view(1), np.float32).reshape(-1, 3) @ TO_GLTF
    uv = np.frombuffer(view(2), np.float32).reshape(-1, 2)
    faces = np.frombuffer(view(3), np.uint32).reshape(-1, 3).astype(np.int32)
    albedo = np.asarray(Image.open(BytesIO(view(4))).convert("RGB"))
    node = document["nodes"][0]
    x, y, z = np.asarray(node.get("translation", [0, 0, 0]), np.float64) @ TO_GLTF
    scale, centre = node.get("scale", [1.0])[0], (float(x), float(y), float(z))
    return Asset(positions, normals, np.stack([uv[:, 0], 1 - uv[:, 1]], -1), faces, albedo, scale, centre)
