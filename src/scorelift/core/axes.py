"""The axes of files: glTF's, which the other formats are read and written with as well."""

from __future__ import annotations

import numpy as np

# scorelift (front x, left y, up z) to glTF (left x, up y, front z): a rotation, so windings stay.
TO_GLTF = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]], np.float32)
