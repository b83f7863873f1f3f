"""Who does the work: processes on this machine, or a ray cluster."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import IO, Any

from ..core.errors import bad, check_library
from .work import work

Outcome = dict[str, Any]
Order = dict[str, Any]


class Crew(ABC):
    """So many runs at a time, each known by a number."""

    size: int

    @abstractmethod
    def start(self, number: int, order: Order) -> None:
        """Begin a run."""

    @abstractmethod
    def done(self) -> list[tuple[int, Outcome]]:
        """What has ended since it was last asked."""

    @property
    @abstractmethod
    def busy(self) -> int:
        """Runs under way."""

    @abstractmethod
    def stop(self) -> None:
        """Ask all runs to save and stop; they are done when they have."""

    @abstractmethod
    def close(self) -> None:
        """End at once whatever is under way."""


def failed(text: str) -> Outcome:
    """The outcome of a run that did not tell its own."""
    return {"state": "failed", "seconds": None, "error": text}


class Processes(Crew):
    """Processes on this machine, with an equal share of its cores; on GPUs, one each."""

    def __init__(self, size: int, gpus: list[str] | None = None) -> None:
        self.size, self.gpus = size, gpus or []
        self._runs: dict[int, tuple[int, subprocess.Popen[bytes], IO[bytes], IO[bytes]]] = {}
        self._stopping = False

    def environment(self, slot: int) -> dict[str, str]:
        """Variables for the process in one of the slots: its threads and its GPU."""
        threads = str(max(1, _cores() // self.size))
        mine = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "NUMBA_NUM_THREADS": threads}
        if self.gpus:
            mine["CUDA_VISIBLE_DEVICES"] = self.gpus[slot % len(self.gpus)]
        return {**os.environ, **mine}

    def start(self, number: int, order: Order) -> None:
        slot = min(set(range(self.size)) - {run[0] for run in self._runs.values()})
        said, complained = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.work"], stdin=subprocess.PIPE, stdout=said, stderr=complained,
            env=self.environment(slot), start_new_session=True,  # Ctrl-C is for the batch, which tells them
        )  # fmt: skip
        self._runs[number] = slot, process, said, complained
        assert process.stdin is not None
        with suppress(OSError):  # it has died already, as will be seen
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()

    def done(self) -> list[tuple[int, Outcome]]:
        ended = [(number, run) for number, run in self._runs.items() if run[1].poll() is not None]
        return [(number, self._outcome(number, *run[1:])) for number, run in ended]

    def _outcome(
        self, number: int, process: subprocess.Popen[bytes], said: IO[bytes], complained: IO[bytes]
    ) -> Outcome:
        del self._runs[number]
        lines = []
        for file in (said, complained):
            file.seek(0)
            lines.append(file.read().decode("utf-8", "replace").strip().splitlines() or [""])
            file.close()
        with suppress(OSError):
            process.stdin.close()  # type: ignore[union-attr]
        with suppress(ValueError):
            outcome = json.loads(lines[0][-1])
            if isinstance(outcome, dict) and "state" in outcome:
                return outcome
        if self._stopping:
            return {"state": "stopped", "seconds": None, "error": None}
        return failed(_how(process.returncode, lines[1][-1]))

    @property
    def busy(self) -> int:
        return len(self._runs)

    def stop(self) -> None:
        self._stopping = True
        for _, process, *_ in self._runs.values():
            with suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]

    def close(self) -> None:
        for _, process, said, complained in self._runs.values():
            process.kill()
            process.wait()
            said.close()
            complained.close()
        self._runs = {}


class Ray(Crew):
    """Tasks on a ray cluster. Its machines have scorelift, and see the batch's folder under the same path.

    Args:
        address: of the cluster; "auto": the one this machine belongs to; "local": one that is started here for it.
        size: runs at a time; None: one a GPU where they are used, else one a core.
        device: as `scorelift.generate` has it.

    Raises:
        ScoreliftError: without ray, or without such a cluster.
    """

    def __init__(self, address: str, size: int | None, device: str) -> None:
        check_library("--ray", "ray", "cluster")
        import ray

        self.ray = ray
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(address=address, log_to_driver=False, logging_level="error")
        except (ConnectionError, ValueError, RuntimeError) as error:
            first = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
            raise bad("ray", expected="the address of a ray cluster, auto, or local", got=address,
                      remedy=f"({first}) `ray start --head` starts one.") from error  # fmt: skip
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if device in ("auto", "cuda") else 0
        self.size = size or max(1, gpus or int(there.get("CPU", 1)))
        self._task = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=0)(work)
        self._runs: dict[Any, int] = {}
        self._stopping = False

    def start(self, number: int, order: Order) -> None:
        self._runs[self._task.remote(order)] = number

    def done(self) -> list[tuple[int, Outcome]]:
        if not self._runs:
            return []
        ready, _ = self.ray.wait(list(self._runs), num_returns=len(self._runs), timeout=0)
        return [(self._runs.pop(reference), self._outcome(reference)) for reference in ready]

    def _outcome(self, reference: Any) -> Outcome:
        try:
            return self.ray.get(reference)
        except Exception as error:  # of ray's many, and whatever a machine that is lost brings
            if self._stopping:
                return {"state": "stopped", "seconds": None, "error": None}
            return failed(f"ray: {str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__}")

    @property
    def busy(self) -> int:
        return len(self._runs)

    def stop(self) -> None:
        self._stopping = True
        for reference in self._runs:
            self.ray.cancel(reference)

    def close(self) -> None:
        for reference in self._runs:
            with suppress(Exception):
                self.ray.cancel(reference, force=True)
        self._runs = {}
        self.ray.shutdown()


def hire(*, workers: int | None, ray: str | None, device: str) -> Crew:
    """Who works: `workers` processes of this machine, or a ray cluster.

    Raises:
        ScoreliftError: as `Ray`, or for a device that is not there.
    """
    if ray is not None:
        return Ray(ray, workers, device)
    from ..engine.generate import pick_device

    return Processes(workers or 1, _gpus() if pick_device(device) == "cuda" else None)


def _gpus() -> list[str]:
    """The GPUs that processes may be given, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    asked = os.environ.get("CUDA_VISIBLE_DEVICES")
    named = [name.strip() for name in asked.split(",") if name.strip()] if asked else []
    return named or [str(i) for i in range(torch.cuda.device_count())]


def _cores() -> int:
    """Cores that may be used: as many as OMP_NUM_THREADS says, or as this process may run on."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _how(code: int, last: str) -> str:
    """How a process ended that did not tell."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        why = ", perhaps for want of memory" if name == "SIGKILL" else ""
        return f"the process was ended by {name}{why}."
    return f"the process ended with code {code}. {last}".strip()
