"""Two processes train one network: each on pictures of its own, both with the same weights; one of them writes."""

import json
import subprocess
import sys

import torch

from scorelift.core.files import load_state
from scorelift.toybox.data import render_shard

SCRIPT = """
import sys
from pathlib import Path
import torch
from scorelift.core.files import save_state
from scorelift.priors.pyramid import UNetConfig
from scorelift.priors.unet import TrunkConfig
from scorelift.toybox.data import Pictures
from scorelift.toybox.train import TrainConfig, Trainer, learn_tokenizer

torch.set_num_threads(1)
pictures, out = Path(sys.argv[1]), Path(sys.argv[2])
trunk = TrunkConfig(widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1), self_attention=(False, True),
                    cross_attention=(False, True), text_dim=32, embedding=32)
network = UNetConfig(vocabulary=len(learn_tokenizer()), text_layers=1, block=1, base=trunk, detail=trunk)
plan = TrainConfig(text_pictures=16, base_pictures=800, detail_pictures=0, text_batch=8, base_batch=8)
seen = []


class Watched(Pictures):
    def draw(self, n, rng, **rest):
        batch = super().draw(n, rng, **rest)
        seen.append(batch.captions)
        return batch


trainer = Trainer(plan, Watched(pictures), out, network=network)
list(trainer.run(steps=2))
list(trainer.run(steps=50))
trainer.team.wait()  # until the first has saved
again = Trainer(plan, Watched(pictures), out, network=network)
again.resume()
first = {name: value.clone() for name, value in again.net.state_dict().items()}
list(again.run(stop=lambda: again.team.rank == 1 and again.step == 54))  # heard by one alone
save_state(out / f"process-{trainer.team.rank}", {
    "net": trainer.net.state_dict(), "resumed": first, "after": again.net.state_dict(), "seen": seen,
})
"""


def test_two_processes_hold_the_same_network_and_share_the_pictures(tmp_path):
    render_shard(tmp_path / "pictures", 0, seed=5, pictures=32)
    (script := tmp_path / "train.py").write_text(SCRIPT)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    words = [str(tmp_path / "pictures"), str(tmp_path / "out")]
    result = subprocess.run([*launch, *words], capture_output=True, text=True, check=False, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]
    one, two = (load_state(tmp_path / "out" / f"process-{rank}") for rank in (0, 1))
    assert [len(captions) for captions in one["seen"] + two["seen"]] == [4] * 2 * 54
    assert all(mine != others for mine, others in zip(one["seen"], two["seen"], strict=True))
    for name, value in one["net"].items():
        assert torch.equal(value, two["net"][name]), name
        assert torch.equal(value, two["resumed"][name]), name  # from what the first one saved
        assert torch.equal(one["after"][name], two["after"][name]), name
    assert not torch.equal(one["after"]["base.trunk.out.weight"], one["net"]["base.trunk.out.weight"])
    assert load_state(tmp_path / "out" / "checkpoint.safetensors")["step"] == 54
    log = (tmp_path / "out" / "train.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [50]
