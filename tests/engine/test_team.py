"""Two processes take the steps of one process with the same views."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.core.files import load_state
from scorelift.engine.team import Team

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
from scorelift.engine.team import Team
from scorelift.scenes import build_scene

torch.set_num_threads(1)
team = Team.join("cpu")
pictures = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
stage = ring_stage(steps=6, size=16, resolution=12, views=4)
stage, prior, prompt = replace(stage, views=4), known_object_prior(pictures), "toy"
if sys.argv[3] == "twin":
    stage, prior, prompt = replace(stage, steps=2, size=32, distiller=VSD()), load_toybox(), "a red mushroom"
loop = Loop("only", stage, build_scene(stage.scene), prior, prompt, seed=0, team=team)
while not loop.done:
    loop.one_step()
if team.leads:
    twin = loop.twin.adapters.state_dict() if loop.twin else {}
    save_state(Path(sys.argv[1]), {"scene": {**loop.scene.state_dict(), **twin}})
team.wait()
"""


@pytest.mark.parametrize("kind", ["plain", "twin"])
def test_two_processes_equal_one(kind, tmp_path):
    script = tmp_path / "steps.py"
    script.write_text(SCRIPT)
    here = str(Path(__file__).parent)
    alone = [sys.executable, str(script), str(tmp_path / "one"), here, kind]
    together = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29517"]
    together += [str(script), str(tmp_path / "two"), here, kind]
    for command in (alone, together):
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert result.returncode == 0, result.stderr[-2000:]
    one, two = (load_state(tmp_path / name)["scene"] for name in ("one", "two"))
    for name in one:  # sums in another order; Adam divides by the size of gradients, small ones too
        torch.testing.assert_close(two[name], one[name], atol=5e-4, rtol=5e-3)


def test_views_must_be_shared_evenly():
    assert Team(1, 2).mine(4).tolist() == [1, 3]
    with pytest.raises(ScoreliftError, match="multiple of the 2 processes"):
        Team(0, 2).mine(3)


def test_a_team_of_one_changes_nothing():
    parameter = torch.nn.Parameter(torch.zeros(2))
    Team().average([parameter])
    assert parameter.grad is None
    assert Team.join("cpu") == Team()
