"""Gaussians written for other programs."""

import numpy as np
import torch

from scorelift.core.axes import TO_GLTF
from scorelift.export.splats import C0, PROPERTIES, to_splats
from scorelift.scenes import GaussianConfig, Gaussians
from scorelift.scenes.projection import quaternion_matrix


def test_what_is_written_is_what_is_there():
    gaussians = Gaussians(GaussianConfig(count=20, most=30))
    with torch.no_grad():
        for table in gaussians.parameters():
            table += 0.5 * torch.randn(table.shape)
        gaussians.alive[3] = False
    rows = gaussians.living()
    head, body = to_splats(gaussians).split(b"end_header\n", 1)
    lines = head.decode().splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert "element vertex 19" in lines
    assert [line.split()[-1] for line in lines if line.startswith("property float")] == list(PROPERTIES)
    points = np.frombuffer(body, [(name, "<f4") for name in PROPERTIES])
    assert len(points) == 19

    def columns(*names):
        return torch.from_numpy(np.stack([points[name] for name in names], -1).copy())

    torch.testing.assert_close(columns("x", "y", "z"), gaussians.place[rows][:, [1, 2, 0]].detach())  # +y up, front +z
    torch.testing.assert_close(
        0.5 + C0 * columns("f_dc_0", "f_dc_1", "f_dc_2"), gaussians.raw_colour[rows].sigmoid().detach()
    )
    torch.testing.assert_close(columns("opacity")[:, 0], gaussians.raw_opacity[rows].detach())
    turned = torch.from_numpy(TO_GLTF) @ gaussians.roots(rows).detach()
    root = (
        quaternion_matrix(columns("rot_0", "rot_1", "rot_2", "rot_3"))
        * columns("scale_0", "scale_1", "scale_2").exp()[:, None]
    )
    torch.testing.assert_close(root, turned, rtol=1e-4, atol=1e-4)
