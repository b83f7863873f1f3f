"""Meshes that users bring: read from a file, turned to the scene's axes, centred and scaled."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import trimesh
from jaxtyping import Float, Int

from ..core.axes import TO_GLTF
from ..core.errors import bad, reason

FORMATS = (".glb", ".gltf", ".obj", ".ply", ".stl", ".off")


class Given(NamedTuple):
    """A mesh in the scene's axes, and how it lay in its file: place = scale * vertex + centre, in the scene's axes."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    scale: float
    centre: Float[np.ndarray, "3"]


def read_given(path: str, name: str, *, radius: float | None, closed: bool = False) -> Given:
    """The mesh of a file, +y up and front +z there.

    Args:
        name: of the option that names the file, for complaints.
        radius: it is centred, and scaled to reach so far from the origin; None: it is taken as it is.
        closed: whether it must be closed.

    Raises:
        ScoreliftError: if the file is missing, no mesh, empty, not closed, or outside the scene.
    """
    file = Path(path)
    if not file.is_file():
        raise bad(name, expected="a mesh file that exists", got=path)
    if file.suffix.lower() not in FORMATS:
        raise bad(name, expected=f"a file of {', '.join(FORMATS)}", got=path)
    try:
        mesh = trimesh.load(file, force="mesh")
    except Exception as error:  # each format's reader has its own complaints
        raise bad(name, expected="a mesh that can be read", got=path, remedy=f"({reason(error)})") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise bad(name, expected="a mesh with faces", got=f"{path}, which has none")
    mesh.merge_vertices(merge_tex=True, merge_norm=True)
    if not np.isfinite(mesh.vertices).all():
        raise bad(name, expected="a mesh of finite numbers", got=path)
    if closed and not mesh.is_watertight:
        raise bad(name, expected="a closed mesh, or several", got=f"{path}, which has holes",
                  remedy="Of an open one nobody can say what is inside: close it in a modeller.")  # fmt: skip
    vertices = np.asarray(mesh.vertices, np.float64) @ TO_GLTF
    scale, centre = 1.0, np.zeros(3)
    if radius is not None:
        centre = (vertices.min(0) + vertices.max(0)) / 2
        scale = max(float(np.linalg.norm(vertices - centre, axis=1).max()), 1e-12) / radius
    elif np.abs(vertices).max() > 1:
        owner = name.rpartition(".")[0]
        raise bad(name, expected="a mesh within 1 of the origin along each axis",
                  got=f"{path}, up to {np.abs(vertices).max():.3g}", remedy=f"Leave {owner}.radius alone.")  # fmt: skip
    return Given((vertices - centre) / scale, np.asarray(mesh.faces), scale, centre)
