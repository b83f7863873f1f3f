"""Wavefront OBJ with its material and texture, in scorelift's axes turned to +y up, front +z as most tools expect."""

from __future__ import annotations

from ..core.axes import TO_GLTF
from ..core.pictures import png_bytes
from .texture import Asset


def to_obj(asset: Asset, stem: str) -> dict[str, bytes]:
    """File names and contents: `stem.obj`, `stem.mtl`, `stem.png`."""
    positions, normals = asset.vertices @ TO_GLTF.T, asset.normals @ TO_GLTF.T
    lines = [f"mtllib {stem}.mtl", f"o {stem}"]
    lines += [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in positions]
    lines += [f"vt {u:.6f} {v:.6f}" for u, v in asset.uv]
    lines += [f"vn {x:.5f} {y:.5f} {z:.5f}" for x, y, z in normals]
    lines += ["usemtl albedo", "s 1"]
    lines += ["f " + " ".join(f"{i}/{i}/{i}" for i in face) for face in asset.faces + 1]
    material = f"newmtl albedo\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {stem}.png\n"
    return {
        f"{stem}.obj": ("\n".join(lines) + "\n").encode(),
        f"{stem}.mtl": material.encode(),
        f"{stem}.png": png_bytes(asset.albedo),
    }
