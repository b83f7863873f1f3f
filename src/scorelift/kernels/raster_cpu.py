"""`raster.visible`, compiled: a depth buffer filled triangle by triangle, its rows shared out among threads."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .compiling import exact
from .raster import EDGE, NEAR
from .threads import share


def visible_compiled(screen: Float[Tensor, "b v 3"], faces: Int[Tensor, "f 3"], size: int) -> Int[Tensor, "b h w"]:
    """The nearest triangle at each pixel's centre, -1 for none; float32."""
    points, corners = screen.contiguous().numpy(), faces.contiguous().numpy()
    seen = np.full((len(points), size, size), -1, np.int32)
    nearness = np.zeros((len(points), size, size), np.float32)
    for view in range(len(points)):
        share(lambda *part, view=view: _fill(points[view], corners, nearness[view], seen[view], *part))
    return torch.from_numpy(seen)


@exact
def _fill(points, faces, nearness, seen, part, parts):
    """Rows [part / parts, (part + 1) / parts) of one picture; `nearness` is 1 / depth."""
    size = len(seen)
    first, last = size * part // parts, size * (part + 1) // parts
    for f in range(len(faces)):
        ax, ay, az = points[faces[f, 0]]
        bx, by, bz = points[faces[f, 1]]
        cx, cy, cz = points[faces[f, 2]]
        if min(az, bz, cz) < NEAR:
            continue
        top = max(first, int(np.ceil(min(ay, by, cy) - 0.5)))
        bottom = min(last, int(np.floor(max(ay, by, cy) - 0.5)) + 1)
        left = max(0, int(np.ceil(min(ax, bx, cx) - 0.5)))
        right = min(size, int(np.floor(max(ax, bx, cx) - 0.5)) + 1)
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if top >= bottom or left >= right or abs(area) <= 1e-12:
            continue
        for i in range(top, bottom):
            y = i + np.float32(0.5)
            for j in range(left, right):
                x = j + np.float32(0.5)
                u = ((bx - x) * (cy - y) - (by - y) * (cx - x)) / area
                v = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) / area
                w = 1 - u - v
                if u < -EDGE or v < -EDGE or w < -EDGE:
                    continue
                near = u / az + v / bz + w / cz
                if near > nearness[i, j]:
                    nearness[i, j], seen[i, j] = near, f
