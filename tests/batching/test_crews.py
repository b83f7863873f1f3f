"""Who does the work: real processes, and a stand-in for ray that does what ray does, here and at once."""

import importlib.util
import json
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from scorelift.batching import crews
from scorelift.batching.crews import Processes, Ray, hire
from scorelift.batching.work import work
from scorelift.core.config import to_json
from scorelift.core.errors import ScoreliftError
from scorelift.recipes import find_recipe

BAD = {"prompt": " ", "out": "r", "recipe": to_json(find_recipe("canvas")), "device": "cpu"}


def ended(crew, seconds=60):
    deadline = time.monotonic() + seconds
    while crew.busy and time.monotonic() < deadline:
        if found := crew.done():
            return found
        time.sleep(0.02)
    raise AssertionError("nothing ended")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_work_tells_what_came_of_it(monkeypatch):
    told = work(BAD)
    assert told["state"] == "failed"
    assert told["error"].startswith("prompt: expected")
    assert work(BAD | {"recipe": "slow"})["error"].startswith("recipe: expected")
    for error, state in ((KeyboardInterrupt(), "stopped"), (ZeroDivisionError("by zero"), "failed")):

        def broken(error=error, **order):
            raise error

        monkeypatch.setattr("scorelift.engine.generate.generate", broken)
        told = work(BAD)
        assert told["state"] == state
    assert told["error"] == "ZeroDivisionError: by zero"


def test_a_process_tells_its_sentence(tmp_path):
    crew = Processes(1)
    crew.start(7, BAD)
    ((number, outcome),) = ended(crew)
    assert number == 7
    assert outcome["state"] == "failed"
    assert outcome["error"].startswith("prompt: expected")
    crew.close()


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("import os; os.kill(os.getpid(), 9)", "SIGKILL, perhaps for want of memory"),
        ("raise SystemExit('no such part')", "code 1. no such part"),
        ("print('[1]')", "code 0"),
    ],
)
def test_processes_that_die_are_told(monkeypatch, code, part):
    real = subprocess.Popen
    monkeypatch.setattr(crews.subprocess, "Popen", lambda words, **more: real([sys.executable, "-c", code], **more))
    crew = Processes(1)
    crew.start(0, BAD)
    ((_, outcome),) = ended(crew)
    assert outcome["state"] == "failed"
    assert part in outcome["error"]


def test_a_process_stops_when_the_batch_is_no_more():
    """Its input ends, whatever ended the batch."""
    code = "import json, scorelift.batching.work as w, time\nw.work = lambda order: time.sleep(60)\nw.main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(json.dumps(BAD).encode() + b"\n")
    process.stdin.close()
    assert process.wait(30) != 0
    assert b"KeyboardInterrupt" in process.stderr.read()
    process.stderr.close()


def test_processes_share_cores_and_gpus(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    crew = Processes(3, ["4", "6"])
    assert [crew.environment(slot)["CUDA_VISIBLE_DEVICES"] for slot in range(3)] == ["4", "6", "4"]
    assert {crew.environment(slot)["OMP_NUM_THREADS"] for slot in range(3)} == {"2"}
    assert "CUDA_VISIBLE_DEVICES" not in {
        k: v for k, v in Processes(20).environment(0).items() if k not in crews.os.environ
    }
    assert Processes(20).environment(0)["OMP_NUM_THREADS"] == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert crews._gpus() == ["3", "5"]


def test_without_ray_it_says_how_to_install_it(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else real(name, *more))
    with pytest.raises(ScoreliftError, match=r"needs the ray library. Install it with pip install '\.\[cluster\]'"):
        hire(workers=2, ray="auto", device="cpu")


class FakeRay(SimpleNamespace):
    """Tasks run when they are asked after."""

    def __init__(self, resources, refuses=None):
        super().__init__(asked={}, cancelled=[], refuses=refuses, down=False)
        self.cluster_resources = lambda: resources

    def init(self, **asked):
        if self.refuses:
            raise self.refuses
        self.asked["init"] = asked

    def remote(self, **asked):
        self.asked["remote"] = asked
        return lambda task: SimpleNamespace(remote=lambda order: (task, json.dumps(order)))

    def wait(self, references, *, num_returns, timeout):
        return references[:num_returns], []

    def get(self, reference):
        if reference in self.cancelled:
            raise RuntimeError("task cancelled")
        task, order = reference
        return task(json.loads(order))

    def cancel(self, reference, force=False):
        self.cancelled.append(reference)

    def shutdown(self):
        self.down = True


@pytest.fixture
def fake_ray(monkeypatch):
    def made(resources=None, refuses=None):
        ray = FakeRay(resources or {"CPU": 4.0}, refuses)
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr(crews, "check_library", lambda *words: None)
        return ray

    return made


def test_a_cluster_does_the_work(fake_ray):
    ray = fake_ray()
    crew = hire(workers=None, ray="auto", device="auto")
    assert crew.size == 4
    assert ray.asked["init"]["address"] == "auto"
    assert ray.asked["remote"] == {"num_cpus": 1, "num_gpus": 0, "max_retries": 0}
    assert crew.done() == []
    crew.start(3, BAD)
    assert crew.busy == 1
    ((number, outcome),) = crew.done()
    assert number == 3
    assert outcome["error"].startswith("prompt: expected")
    crew.start(4, BAD)
    crew.stop()
    assert crew.done() == [(4, {"state": "stopped", "seconds": None, "error": None})]
    crew.close()
    assert ray.down


def test_a_clusters_gpus_are_one_a_run(fake_ray):
    ray = fake_ray({"CPU": 64.0, "GPU": 2.0})
    assert Ray("auto", None, "auto").size == 2
    assert ray.asked["remote"]["num_gpus"] == 1
    assert Ray("auto", 5, "cpu").size == 5
    assert ray.asked["remote"]["num_gpus"] == 0


def test_a_machine_that_is_lost_is_told(fake_ray):
    ray = fake_ray()
    crew = Ray("auto", 1, "cpu")
    crew.start(0, BAD)
    ray.cancelled += list(crew._runs)
    assert crew.done() == [(0, {"state": "failed", "seconds": None, "error": "ray: task cancelled"})]


def test_a_cluster_that_is_not_there(fake_ray):
    fake_ray(refuses=ConnectionError("Could not find any running Ray instance."))
    with pytest.raises(ScoreliftError, match=r"ray: expected the address .* got 'auto'. \(Could not find"):
        Ray("auto", 1, "cpu")
