"""Memory that ran out, by whatever name."""

import pytest
import torch

from scorelift.core.memory import device_bytes, free_bytes, memory_errors, ran_out


@pytest.mark.parametrize("said", [
    "CUDA error: out of memory", "MPS backend out of memory (MPS allocated: 8.00 GB)",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
])  # fmt: skip
def test_it_has_one_name(said):
    assert ran_out(RuntimeError(said))
    with pytest.raises(torch.OutOfMemoryError, match=r"(?i)memory|alloc") as caught, memory_errors():
        raise RuntimeError(said)
    assert ran_out(caught.value)


def test_other_errors_are_as_they_were():
    error = RuntimeError("shapes do not fit")
    assert not ran_out(error)
    assert not ran_out(ValueError("out of memory"))
    with pytest.raises(RuntimeError) as caught, memory_errors():
        raise error
    assert caught.value is error
    spent = torch.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(torch.OutOfMemoryError) as found, memory_errors():
        raise spent
    assert found.value is spent


def test_what_is_free():
    free = free_bytes()
    assert free is None or 2**20 < free < 2**50


def test_what_is_free_of_a_gpu(monkeypatch):
    """What the driver has, and what torch keeps for itself."""
    for name, value in (("mem_get_info", (100, 1000)), ("memory_reserved", 30), ("memory_allocated", 10)):
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert device_bytes(torch.device("cuda")) == 120
    assert device_bytes(torch.device("cpu")) is None
