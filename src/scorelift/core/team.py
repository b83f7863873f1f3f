"""Several processes on one job: each renders a part of a step's views, as the four chips of DreamFusion do.

Started by `torchrun --nproc-per-node N -m scorelift generate ...`, or `... toybox train`, where each has a part of a
step's pictures. Every process holds the same parameters; gradients are averaged, so N processes take the steps of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import bad


@dataclass(frozen=True)
class Team:
    """This process among those that share a run."""

    rank: int = 0
    size: int = 1

    @staticmethod
    def join(device: str) -> Team:
        """The team torchrun started, or a team of one; "cuda" is from then on the GPU of this process.

        Raises:
            ScoreliftError: if this machine has fewer GPUs than processes.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return Team()
        import torch.distributed as dist

        on_gpu = device.startswith("cuda")
        if on_gpu:
            _take_gpu(int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count())
        if not dist.is_initialized():
            dist.init_process_group("nccl" if on_gpu else "gloo")
        return Team(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def mine(self, count: int, name: str = "views") -> Tensor:
        """Indices of the views this process renders, or of other things shared out.

        Raises:
            ScoreliftError: if they cannot be shared evenly.
        """
        if count % self.size:
            raise bad(name, expected=f"a multiple of the {self.size} processes", got=count)
        return torch.arange(self.rank, count, self.size)

    def wait(self) -> None:
        """Let the others catch up."""
        if self.size > 1:
            torch.distributed.barrier()

    def any(self, flag: bool, device: str = "cpu") -> bool:
        """Whether it is so for one of the processes; all must ask."""
        if self.size == 1:
            return flag
        told = torch.tensor(float(flag), device=device)
        torch.distributed.all_reduce(told)
        return bool(told)

    def average(self, parameters: Iterable[Tensor]) -> None:
        """Average the gradients of all processes; a missing one counts as zero."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= self.size


def _take_gpu(rank: int, count: int) -> None:
    """Make "cuda" the GPU of the machine's process number `rank`: NCCL refuses two on one."""
    if rank >= count:
        raise bad("nproc-per-node", expected=f"at most one process a GPU, of which torch sees {count}",
                  got=f"process {rank + 1}", remedy="Start fewer, or use --device cpu.")  # fmt: skip
    torch.cuda.set_device(rank)
