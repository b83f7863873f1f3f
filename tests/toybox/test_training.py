import dataclasses
import json
import random

import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.core.files import load_state
from scorelift.priors.toybox import load_toybox
from scorelift.priors.unet import UNetConfig
from scorelift.toybox.data import Pictures, render_shard
from scorelift.toybox.judge import HEADS, Judge, judge_loss, judge_pictures, labels, load_judge, save_judge, train_judge
from scorelift.toybox.muon import orthogonalize
from scorelift.toybox.release import release, toybox_view_words
from scorelift.toybox.spec import is_held_out
from scorelift.toybox.toys import KINDS
from scorelift.toybox.train import TrainConfig, Trainer, denoising_loss, learn_tokenizer
from scorelift.toybox.views import quadrant

CONFIG = TrainConfig(low_pictures=24, high_pictures=24, low_batch=8, high_batch=4, low_every=3, warmup_steps=2)
SMALL = UNetConfig(vocabulary=len(learn_tokenizer()), widths=(16, 32, 32), text_dim=32, text_layers=1, embedding=32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures")
    for index in range(2):
        render_shard(path, index, seed=5, pictures=48)
    return path


def test_batches_show_what_they_say(folder):
    batch = Pictures(folder).draw(40, random.Random(0))
    assert batch.pictures.shape == (40, 3, 64, 64)
    assert 0 <= float(batch.pictures.min()) <= float(batch.pictures.max()) <= 1
    assert not any(is_held_out(spec) for spec in batch.specs)
    for spec, view, azimuth in zip(batch.specs, batch.views, batch.azimuth_deg.tolist(), strict=True):
        if view.azimuth in ("left", "right"):
            assert abs((azimuth - {"left": 90, "right": 270}[view.azimuth] + 180) % 360 - 180) <= 45
        assert KINDS[spec.kind].name == spec.kind


def test_small_pictures_are_the_large_ones_averaged(folder):
    large = Pictures(folder).draw(4, random.Random(1))
    small = Pictures(folder).draw(4, random.Random(1), size=32)
    assert small.captions == large.captions
    mean = torch.nn.functional.avg_pool2d(large.pictures, 2)
    assert float((small.pictures - mean).abs().mean()) < 0.01


def test_shards_are_reproducible_and_kept(folder, tmp_path):
    path = render_shard(tmp_path, 0, seed=5, pictures=48)
    assert path.read_bytes() == (folder / path.name).read_bytes()
    before = path.stat().st_mtime_ns
    assert render_shard(tmp_path, 0, seed=6, pictures=48).stat().st_mtime_ns == before


def test_no_pictures(tmp_path):
    with pytest.raises(ScoreliftError, match="no shards"):
        Pictures(tmp_path)


def train(folder, out, steps):
    trainer = Trainer(CONFIG, Pictures(folder), out, network=SMALL)
    resumed = trainer.resume()
    list(trainer.run(steps=steps))
    return trainer, resumed


def test_resumed_training_equals_uninterrupted(folder, tmp_path):
    whole, _ = train(folder, tmp_path / "whole", 6)
    train(folder, tmp_path / "parts", 4)
    parts, resumed = train(folder, tmp_path / "parts", 2)
    assert resumed
    assert parts.step == whole.step == 6
    for a, b in zip(whole.net.parameters(), parts.net.parameters(), strict=True):
        assert torch.equal(a, b)
    first, second = (load_state(tmp_path / n / "checkpoint.safetensors")["average"] for n in ("whole", "parts"))
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_the_plan_grows_the_pictures_then_ends():
    sizes = [CONFIG.plan(step)[0] for step in range(CONFIG.total_steps)]
    assert sizes[:3] == [32, 32, 32]
    assert sizes[3:6] == [64, 64, 32]
    assert CONFIG.plan(CONFIG.total_steps)[2] == 1
    assert CONFIG.rate(0) == 0.5
    assert CONFIG.rate(CONFIG.total_steps) == 0


def test_training_lowers_the_loss(folder, tmp_path):
    config = dataclasses.replace(CONFIG, low_pictures=8 * 40, high_pictures=4, cooldown=0.1)
    trainer = Trainer(config, Pictures(folder), tmp_path, network=SMALL)
    batch = Pictures(folder).draw(48, random.Random(1), size=32)
    ids = trainer.tokenizer.batch(batch.captions)
    sigma_ve, noise = torch.linspace(-3, 2, 48).exp(), torch.randn(48, 3, 32, 32)

    def loss():
        with torch.no_grad():
            return float(denoising_loss(trainer.net, batch, ids, sigma_ve, noise))

    before = loss()
    assert before == pytest.approx(1.0, abs=0.3)  # a network that predicts nothing
    for _ in range(40):
        trainer.one_step()
    assert loss() < 0.8 * before


def test_another_network_is_not_resumed(folder, tmp_path):
    train(folder, tmp_path, 1)
    other = Trainer(CONFIG, Pictures(folder), tmp_path, network=dataclasses.replace(SMALL, text_layers=2))
    with pytest.raises(ScoreliftError, match="network"):
        other.resume()


def test_released_weights_load_as_a_prior(folder, tmp_path):
    trainer, _ = train(folder, tmp_path, 2)
    size = release(trainer.checkpoint, tmp_path / "w.safetensors", {"pictures": 16})
    prior = load_toybox(tmp_path / "w.safetensors")
    assert size == (tmp_path / "w.safetensors").stat().st_size
    assert prior.view_words == toybox_view_words()
    for a, b in zip(prior.net.parameters(), trainer.average.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)
    with pytest.raises(ScoreliftError, match=r"does not know 'griffin'"):
        prior.encode_prompts(["a red griffin"])
    with pytest.raises(ScoreliftError, match=r"for 'mushrom' it knows mushroom"):
        prior.encode_prompts(["a red mushrom"])
    with pytest.raises(ScoreliftError, match="tokens"):
        prior.encode_prompts(["red " * 40])


def test_damaged_or_foreign_weights(tmp_path, folder):
    (tmp_path / "w.safetensors").write_bytes(b"junk")
    with pytest.raises(ScoreliftError, match="damaged"):
        load_toybox(tmp_path / "w.safetensors")
    trainer, _ = train(folder, tmp_path / "t", 1)
    with pytest.raises(ScoreliftError, match="weights of the form"):
        load_toybox(trainer.checkpoint)
    with pytest.raises(ScoreliftError, match="no weights"):
        load_toybox(tmp_path / "none.safetensors")


def test_orthogonalized_matrices_have_singular_values_near_one(generator):
    for shape in ((20, 50), (50, 20)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape, generator=generator)))
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.3


def test_judge_learns_saves_and_reads(folder, tmp_path):
    pictures = Pictures(folder)
    judge = train_judge(pictures, 30, batch=24)
    batch = pictures.draw(48, random.Random(9))
    with torch.no_grad():
        before, after = (
            judge_loss(Judge()(batch.pictures), labels(batch)),
            judge_loss(judge(batch.pictures), labels(batch)),
        )
    assert float(after) < 0.9 * float(before)
    save_judge(judge, tmp_path / "judge.safetensors", {"steps": 30})
    again, about = load_judge(tmp_path / "judge.safetensors")
    assert about == {"steps": 30}
    verdict = judge_pictures(again, batch.pictures)
    assert len(verdict.object) == 48
    assert set(verdict.view) <= set(HEADS["view"])
    assert verdict.probability["colour"].shape == (48, len(HEADS["colour"]))
    with pytest.raises(ScoreliftError, match="toybox judge"):
        load_judge(tmp_path / "none")


def test_labels_of_views(folder):
    batch = Pictures(folder).draw(60, random.Random(2))
    target = labels(batch)["view"].tolist()
    for spec, elevation, azimuth, label in zip(
        batch.specs, batch.elevation_deg.tolist(), batch.azimuth_deg.tolist(), target, strict=True
    ):
        if elevation > 60:
            assert HEADS["view"][label] == "overhead"
        elif KINDS[spec.kind].has_front:
            assert HEADS["view"][label] == quadrant(azimuth)
        else:
            assert label == -1


def test_train_log_is_json_lines(folder, tmp_path):
    config = dataclasses.replace(CONFIG, low_pictures=8 * 51)
    list(Trainer(config, Pictures(folder), tmp_path, network=SMALL).run(steps=50))
    entry = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])
    assert entry["step"] == 50
    assert entry["size"] == 32
