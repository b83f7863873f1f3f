"""Binary STL: triangles alone, as printers take them, axes as in the other formats (+y up, front +z)."""

from __future__ import annotations

import numpy as np

from ..core.axes import TO_GLTF
from .texture import Asset


def to_stl(asset: Asset) -> bytes:
    """One little-endian STL file."""
    corners = (asset.vertices @ TO_GLTF.T)[asset.faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face = np.zeros(len(corners), [("n", "<f4", 3), ("p", "<f4", (3, 3)), ("about", "<u2")])
    face["n"] = normal / np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-20)
    face["p"] = corners
    return b"scorelift".ljust(80) + np.uint32(len(face)).astype("<u4").tobytes() + face.tobytes()
