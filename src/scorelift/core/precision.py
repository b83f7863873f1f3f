"""Double precision where a device has none."""

from __future__ import annotations

from torch import Tensor

WITHOUT_DOUBLES = {"mps"}
"Kinds of device that know no float64."


def wide(x: Tensor) -> Tensor:
    """A tensor in double precision: where it is, or on the CPU if its device knows none."""
    return (x.cpu() if x.device.type in WITHOUT_DOUBLES else x).double()
