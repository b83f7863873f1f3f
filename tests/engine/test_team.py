"""Two processes take the steps of one process with the same views."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.core.files import load_state
from scorelift.core.team import Team
from scorelift.engine.run import Run

SCRIPT = """
import sys, torch
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from helpers import known_object_prior, ring_stage
from scorelift.core.files import save_state
from scorelift.distill.vsd import VSD
from scorelift.priors.toybox import load_toybox
from scorelift.engine.loop import Loop
from scorelift.core.team import Team
from scorelift.scenes import build_scene

torch.set_num_threads(1)
team = Team.join("cpu")
pictures = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
stage = ring_stage(steps=6, size=16, resolution=12, views=4)
stage, prior, prompt = replace(stage, views=4), known_object_prior(pictures), "toy"
if sys.argv[3] == "twin":
    stage, prior, prompt = replace(stage, steps=2, size=32, distiller=VSD()), load_toybox(), "a red mushroom"
loop = Loop("only", stage, build_scene(stage.scene), prior, prompt, seed=0, team=team)
loop.one_step()
learning = [*loop.scene.named_parameters(), *(loop.twin.adapters.named_parameters() if loop.twin else ())]
first = {name: p.grad.clone() for name, p in learning if p.grad is not None}
while not loop.done:
    loop.one_step()
if team.leads:
    twin = loop.twin.adapters.state_dict() if loop.twin else {}
    save_state(Path(sys.argv[1]), {"scene": {**loop.scene.state_dict(), **twin}, "first": first})
team.wait()
"""


def two_processes(*words: str) -> list[str]:
    """The command that torchrun is, on a port that nobody uses."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *words]


@pytest.mark.parametrize("kind", ["plain", "twin"])
def test_two_processes_equal_one(kind, tmp_path):
    script = tmp_path / "steps.py"
    script.write_text(SCRIPT)
    here = str(Path(__file__).parent)
    alone = [sys.executable, str(script), str(tmp_path / "one"), here, kind]
    together = two_processes(str(script), str(tmp_path / "two"), here, kind)
    for command in (alone, together):
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert result.returncode == 0, result.stderr[-2000:]
    one, two = (load_state(tmp_path / name) for name in ("one", "two"))
    for name, gradient in one["first"].items():  # Adam's steps do not tell a sum from a mean
        atol = 1e-3 * float(gradient.abs().max())
        torch.testing.assert_close(two["first"][name], gradient, atol=atol, rtol=0)
    for name, value in one["scene"].items():  # sums in another order; Adam enlarges small gradients
        torch.testing.assert_close(two["scene"][name], value, atol=5e-4, rtol=5e-3)


SMALL = """--recipe dreamfusion --preset small --steps 3 --quiet --device cpu
    --field.views 2 --field.scene.density-bias 3 --field.scene.coarse-samples 12 --field.scene.occupancy 0
    --field.shading.albedo-until 0 --field.shading.shaded 1
    --finish.mesh-resolution 24 --finish.faces 400 --finish.texture 32
    --finish.turntable-frames 2 --finish.turntable-size 16 --finish.preview-size 16"""


@pytest.mark.slow
def test_the_command_under_torchrun(tmp_path):
    """A whole run, mesh and report included, shared by two processes."""
    words = ["-m", "scorelift", "generate", "a red mushroom", *SMALL.split(), "--out"]
    for name, launcher in (("one", [sys.executable]), ("two", two_processes())):
        command = [*launcher, *words, str(tmp_path / name)]
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert result.returncode == 0, result.stderr[-2000:]
    one, two = (Run.open(tmp_path / name) for name in ("one", "two"))
    assert two.finished
    assert (two.path / "asset.glb").exists()
    assert len(two.read_log()) == 3  # one process writes
    alone, shared = (run.load_checkpoint(run.checkpoints()[-1])["scene"] for run in (one, two))
    for name in alone:
        torch.testing.assert_close(shared[name], alone[name], atol=5e-4, rtol=5e-3)


@pytest.fixture
def launched(monkeypatch):
    """The second of two processes, on a machine with two GPUs; what it does, in order."""
    done = []
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda gpu: done.append(f"GPU {gpu}"))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", done.append)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    return done


def test_each_process_takes_its_own_gpu_before_they_meet(launched):
    assert Team.join("cuda") == Team(1, 2)
    assert launched == ["GPU 1", "nccl"]


def test_without_a_gpu_none_is_taken(launched):
    assert Team.join("cpu") == Team(1, 2)
    assert launched == ["gloo"]


def test_more_processes_than_gpus_are_refused(launched, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ScoreliftError, match="nproc-per-node: expected at most one process a GPU, of which torch sees"):
        Team.join("cuda")
    assert launched == []


def test_views_must_be_shared_evenly():
    assert Team(1, 2).mine(4).tolist() == [1, 3]
    with pytest.raises(ScoreliftError, match="multiple of the 2 processes"):
        Team(0, 2).mine(3)
    with pytest.raises(ScoreliftError, match="base_batch: expected a multiple of the 2 processes, got 7"):
        Team(0, 2).mine(7, "base_batch")


def test_gradients_are_averaged_and_a_missing_one_counts_as_zero(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda gradient: gradient.add_(4.0))  # of three others
    known, missing = torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(3))
    known.grad = torch.tensor([2.0, -8.0])
    Team(0, 4).average([known, missing])
    assert known.grad.tolist() == [1.5, -1.0]
    assert missing.grad.tolist() == [1.0] * 3


def test_a_team_of_one_changes_nothing():
    parameter = torch.nn.Parameter(torch.zeros(2))
    Team().average([parameter])
    assert parameter.grad is None
    assert Team.join("cpu") == Team()


@pytest.mark.parametrize(("mine", "others", "found"), [(False, 0.0, False), (True, 0.0, True), (False, 2.0, True)])
def test_what_one_process_hears_all_do(monkeypatch, mine, others, found):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda flag: flag.add_(others))
    assert Team(0, 4).any(mine) is found
    assert Team().any(mine) is mine
