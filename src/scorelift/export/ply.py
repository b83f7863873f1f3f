"""Binary PLY with a colour at each vertex, axes as in the other formats (+y up, front +z)."""

from __future__ import annotations

import numpy as np

from ..core.axes import TO_GLTF
from .texture import Asset


def vertex_colours(asset: Asset) -> np.ndarray:
    """The texture's colour at each vertex, (v, 3) uint8."""
    height, width, _ = asset.albedo.shape
    column = (asset.uv[:, 0] * width).astype(int).clip(0, width - 1)
    row = ((1 - asset.uv[:, 1]) * height).astype(int).clip(0, height - 1)
    return asset.albedo[row, column]


def to_ply(asset: Asset) -> bytes:
    """One little-endian PLY file."""
    vertex = np.zeros(len(asset.vertices), [("p", "<f4", 3), ("n", "<f4", 3), ("c", "u1", 3)])
    vertex["p"], vertex["n"] = asset.vertices @ TO_GLTF.T, asset.normals @ TO_GLTF.T
    vertex["c"] = vertex_colours(asset)
    face = np.zeros(len(asset.faces), [("count", "u1"), ("index", "<i4", 3)])
    face["count"], face["index"] = 3, asset.faces
    head = ["ply", "format binary_little_endian 1.0", "comment scorelift", f"element vertex {len(vertex)}"]
    head += [f"property float {name}" for name in ("x", "y", "z", "nx", "ny", "nz")]
    head += [f"property uchar {name}" for name in ("red", "green", "blue")]
    head += [f"element face {len(face)}", "property list uchar int vertex_indices", "end_header"]
    return ("\n".join(head) + "\n").encode() + vertex.tobytes() + face.tobytes()
