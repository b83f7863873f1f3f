"""Architectures at full size, without memory: the counts that their authors state."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")

from full_size import FULL
from scorelift.priors.known import KNOWN

UNITS = {"B": 1e9, "M": 1e6}


@pytest.mark.parametrize("name", FULL)
def test_parameters_are_as_published(name):
    full = FULL[name]
    with torch.device("meta"):
        count = sum(p.numel() for p in full.build().parameters())
    number, unit = full.published[:-1], UNITS[full.published[-1]]
    digit = 10.0 ** -len(number.partition(".")[2])
    assert abs(count / unit - float(number)) < digit / 2 + 1e-9
    assert KNOWN.get(name) is None or abs(KNOWN[name].parameters - count / 1e9) < 0.05
