"""The GPU form against the reference: on a GPU, or through Triton's interpreter where Triton can be imported.

TRITON_INTERPRET=1 python -m pytest tests/kernels/test_hash_encoding_triton.py
"""

import os

import pytest
import torch

from scorelift.kernels.hash_encoding import HashLevels, encode_compiled, encode_reference

pytest.importorskip("triton")
if not (os.environ.get("TRITON_INTERPRET") == "1" or torch.cuda.is_available()):
    pytest.skip("needs a CUDA device or TRITON_INTERPRET=1", allow_module_level=True)
from scorelift.kernels import hash_encoding_triton as form

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.parametrize("features", [1, 2, 3, 4])
def test_agrees_with_the_reference(features):
    levels = HashLevels(levels=5, features=features, log2_rows=10, coarsest=4, finest=2048)
    table = torch.randn(levels.total, features).to(DEVICE).requires_grad_()
    points = torch.rand(300, 3) * 2.4 - 1.2
    points[0], points[1], points[2] = -1.0, 1.0, 0.5
    points = points.to(DEVICE).requires_grad_()
    found, wanted = encode_compiled(table, points, levels, form), encode_reference(table, points, levels)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    pull = torch.randn_like(wanted)
    for inputs in ((table, points), (table,), (points,)):
        got = torch.autograd.grad(found, inputs, pull, retain_graph=True)
        expected = torch.autograd.grad(wanted, inputs, pull, retain_graph=True)
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5 * float(b.abs().max()), rtol=1e-4)


def test_no_points():
    levels = HashLevels(levels=2, features=2, log2_rows=6, coarsest=2, finest=8)
    table = torch.randn(levels.total, 2, device=DEVICE, requires_grad=True)
    found = encode_compiled(table, torch.zeros(0, 3, device=DEVICE), levels, form)
    assert found.shape == (0, 4)
    found.sum().backward()
    assert float(table.grad.abs().max()) == 0
