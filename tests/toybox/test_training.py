import dataclasses
import json
import random
import shutil

import pytest
import torch

from scorelift.cli import main
from scorelift.core.errors import ScoreliftError
from scorelift.core.files import load_state
from scorelift.core.locks import alone
from scorelift.priors.pyramid import UNetConfig
from scorelift.priors.toybox import load_toybox
from scorelift.priors.unet import TrunkConfig
from scorelift.toybox.data import Pictures, render_shard
from scorelift.toybox.grammar import parse
from scorelift.toybox.judge import HEADS, Judge, judge_loss, judge_pictures, labels, load_judge, save_judge, train_judge
from scorelift.toybox.muon import orthogonalize
from scorelift.toybox.release import release, toybox_view_words
from scorelift.toybox.retriever import train_retriever
from scorelift.toybox.spec import is_held_out
from scorelift.toybox.toys import KINDS
from scorelift.toybox.train import (
    TODAYS,
    TrainConfig,
    Trainer,
    base_loss,
    detail_loss,
    learn_tokenizer,
    sketch_loss,
)
from scorelift.toybox.views import View, quadrant

CONFIG = TrainConfig(
    text_pictures=16, base_pictures=24, detail_pictures=8, text_batch=8, base_batch=8, detail_batch=4, warmup_steps=2
)
SMALL = UNetConfig(
    vocabulary=len(learn_tokenizer()),
    text_layers=1,
    block=1,
    base=TrunkConfig(widths=(16, 32, 32), text_dim=32, embedding=32),
    detail=dataclasses.replace(UNetConfig(vocabulary=0).detail, widths=(16, 16), text_dim=32, embedding=32),
)


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
    assert render_shard(tmp_path, 0, seed=5, pictures=48).stat().st_mtime_ns == before


@pytest.mark.parametrize("other", [{"seed": 6}, {"train": False}, {"textureless": True}, {"crops": True}])
def test_shards_of_other_settings_are_refused(folder, tmp_path, other):
    shutil.copytree(folder, tmp_path / "p")
    name = {"train": "held_out"}.get(*other, *other)
    for index in (0, 7):  # be it there or not
        with pytest.raises(ScoreliftError, match=f"{name}: expected .*, with which the shards in"):
            render_shard(tmp_path / "p", index, **{"seed": 5, "pictures": 2, **other})
    (tmp_path / "p" / "shards.json").unlink()  # as earlier versions left it
    assert render_shard(tmp_path / "p", 0, **{"seed": 5, **other}).exists()
    assert not (tmp_path / "p" / "shards.json").exists()


def test_mirrored_pictures_come_with_mirrored_cameras(folder):
    batch = Pictures(folder).draw(60, random.Random(4))
    pose = batch.cameras[:, :12].unflatten(1, (3, 4))
    azimuth = torch.rad2deg(torch.atan2(pose[:, 1, 3], pose[:, 0, 3]))
    gap = (azimuth - batch.azimuth_deg + 180) % 360 - 180
    assert gap.abs()[batch.elevation_deg < 50].max() < 12  # the camera stands around a target beside the origin
    torch.testing.assert_close(torch.linalg.det(pose[..., :3]), torch.ones(60), atol=1e-3, rtol=0)


def test_captions_that_do_not_say_the_view(folder):
    batch = Pictures(folder).draw(40, random.Random(5))
    assert all(parse(text).view == View() for text in batch.unsaid)
    assert [parse(text).spec.kind for text in batch.unsaid] == [spec.kind for spec in batch.specs]


def test_cameras_are_told_in_place_of_most_views(folder, tmp_path):
    trainer = Trainer(CONFIG, Pictures(folder), tmp_path, network=dataclasses.replace(SMALL, sight=True))
    batch = Pictures(folder).draw(200, random.Random(6))
    heard = trainer.hear(batch, random.Random(7), always=True)
    said = [trainer.tokenizer.encode(text) for text in batch.unsaid]
    bare = torch.tensor([heard.ids[i, : len(ids)].tolist() == ids for i, ids in enumerate(said)])
    assert 0.35 < heard.told.float().mean() < 0.65
    assert 0.55 < bare[heard.told].float().mean() < 0.9
    assert bare[~heard.told].float().mean() < 0.3  # some captions say nothing of the view anyhow
    dropped = trainer.hear(batch, random.Random(7)).ids[:, 1] == 0
    assert 0.03 < dropped.float().mean() < 0.2


def test_shards_of_an_earlier_version_are_refused(folder, tmp_path):
    for path in folder.glob("shard-00000.*"):
        shutil.copy(path, tmp_path)
    entries = json.loads((tmp_path / "shard-00000.json").read_text())
    (tmp_path / "shard-00000.json").write_text(json.dumps([entry[:7] for entry in entries]))
    with pytest.raises(ScoreliftError, match="say nothing of their cameras"):
        Pictures(tmp_path)


def test_no_pictures(tmp_path):
    with pytest.raises(ScoreliftError, match="no shards"):
        Pictures(tmp_path)


def train(folder, out, steps):
    trainer = Trainer(CONFIG, Pictures(folder), out, network=SMALL)
    resumed = trainer.resume()
    list(trainer.run(steps=steps))
    return trainer, resumed


@pytest.mark.parametrize("at", [1, 2, 4, 6])  # within a stage, and where one ends
def test_resumed_training_equals_uninterrupted(folder, tmp_path, at):
    whole, _ = train(folder, tmp_path / "whole", 7)
    train(folder, tmp_path / "parts", at)
    parts, resumed = train(folder, tmp_path / "parts", 7 - at)
    assert resumed
    assert parts.step == whole.step == 7 == CONFIG.total_steps
    for a, b in zip(whole.net.parameters(), parts.net.parameters(), strict=True):
        assert torch.equal(a, b)
    first, second = (load_state(tmp_path / n / "checkpoint.safetensors") for n in ("whole", "parts"))
    assert all(torch.equal(first["average"][k], second["average"][k]) for k in first["average"])


def test_training_that_is_told_to_stop_saves_whole_steps(folder, tmp_path):
    whole, _ = train(folder, tmp_path / "whole", 7)
    stopped = Trainer(CONFIG, Pictures(folder), tmp_path / "stopped", network=SMALL)
    list(stopped.run(stop=lambda: stopped.step == 3))
    assert load_state(stopped.checkpoint)["step"] == 3
    rest, resumed = train(folder, tmp_path / "stopped", 4)
    assert resumed
    assert all(torch.equal(a, b) for a, b in zip(whole.net.parameters(), rest.net.parameters(), strict=True))


def test_the_plan_goes_from_words_to_detail():
    names = [CONFIG.locate(step)[0].name for step in range(CONFIG.total_steps)]
    assert names == ["text", "text", "base", "base", "base", "detail", "detail"]
    assert CONFIG.rate(2) == CONFIG.base_rate / 2  # warming up
    assert CONFIG.rate(6) == pytest.approx(CONFIG.detail_rate * 0.5 / CONFIG.cooldown)


def test_each_stage_trains_its_part_alone(folder, tmp_path):
    trainer = Trainer(CONFIG, Pictures(folder), tmp_path, network=SMALL)
    base = trainer.net.base
    parts = {"text": base.text, "base": base.trunk, "detail": trainer.net.detail}
    moved = {name: set() for name in parts}
    for step in range(CONFIG.total_steps):
        before = {name: [p.clone() for p in part.parameters()] for name, part in parts.items()}
        trainer.one_step()
        for name, part in parts.items():
            if any(not torch.equal(a, b) for a, b in zip(before[name], part.parameters(), strict=True)):
                moved[CONFIG.locate(step)[0].name].add(name)
    assert moved == {"text": {"text"}, "base": {"text", "base"}, "detail": {"detail"}}


@pytest.mark.parametrize("fresh", [False, True])
def test_training_goes_on_from_weights(folder, tmp_path, fresh):
    trainer, _ = train(folder, tmp_path / "first", 7)
    release(trainer.checkpoint, tmp_path / "first.safetensors")
    start = load_toybox(tmp_path / "first.safetensors")
    config = dataclasses.replace(CONFIG, text_pictures=0, base_pictures=8, detail_pictures=0)
    network = SMALL if fresh else None
    more = Trainer(config, Pictures(folder), tmp_path / "more", network=network, start=start, fresh_unet=fresh)
    assert more.tokenizer.pieces == start.tokenizer.pieces
    anew = ("base.trunk.",) if fresh else ("base.sketch.",)  # wider today
    for name, tensor in start.net.state_dict().items():
        if not name.startswith(anew):
            assert torch.equal(more.net.state_dict()[name], tensor)
    assert bool(more.net.base.trunk.out.weight.any()) is not fresh
    list(more.run())
    release(more.checkpoint, tmp_path / "more.safetensors")
    again = load_toybox(tmp_path / "more.safetensors")
    assert again.net.config == (SMALL if fresh else dataclasses.replace(SMALL, **TODAYS))
    assert again.sighted is not fresh


@pytest.mark.parametrize("stage", ["text", "base", "detail"])
def test_training_lowers_the_loss(folder, tmp_path, stage):
    config = dataclasses.replace(
        CONFIG,
        **{f"{name}_pictures": 8 * 40 if name == stage else 1 for name in ("text", "base", "detail")},
        detail_batch=8, cooldown=0.1,
    )  # fmt: skip
    trainer = Trainer(config, Pictures(folder), tmp_path, network=SMALL)
    size = {"text": 16, "base": 32, "detail": 64}[stage]
    batch = Pictures(folder).draw(48, random.Random(1), size=size)
    x0 = batch.pictures * 2 - 1
    heard = trainer.hear(batch, random.Random(2), always=True)
    sigma_ve, noise = torch.linspace(-3, 2, 48).exp(), torch.randn(x0.shape)

    def loss():
        with torch.no_grad():
            if stage == "text":
                return float(sketch_loss(trainer.net, batch.cutouts, heard))
            if stage == "base":
                return float(base_loss(trainer.net, x0, heard, sigma_ve, noise))
            return float(detail_loss(trainer.net, trainer.average, x0, heard, sigma_ve, noise))

    while config.locate(trainer.step)[0].name != stage:
        trainer.one_step()
    before = loss()
    if stage != "text":
        assert before == pytest.approx(1.0, abs=0.3)  # a network that predicts nothing
    for _ in range(40):
        trainer.one_step()
    assert loss() < (0.95 if stage == "detail" else 0.8) * before


def test_another_network_is_not_resumed(folder, tmp_path):
    train(folder, tmp_path, 1)
    other = Trainer(CONFIG, Pictures(folder), tmp_path, network=dataclasses.replace(SMALL, text_layers=2))
    with pytest.raises(ScoreliftError, match="network"):
        other.resume()


def test_another_plan_is_not_resumed(folder, tmp_path):
    train(folder, tmp_path, 1)
    before = (tmp_path / "train.json").read_text()
    other = Trainer(dataclasses.replace(CONFIG, base_rate=0.5), Pictures(folder), tmp_path, network=SMALL)
    with pytest.raises(ScoreliftError, match=r"base_rate: expected 0\.005, with which the training in .* got 0\.5"):
        other.resume()
    assert (tmp_path / "train.json").read_text() == before


def test_weights_to_begin_with_are_not_read_again(folder, tmp_path, capsys):
    trainer, _ = train(folder, tmp_path / "first", 1)
    start, out = tmp_path / "start.safetensors", tmp_path / "more"
    release(trainer.checkpoint, start)
    words = ["--pictures", str(folder), "--out", str(out), "--from", str(start), "--steps", "1"]
    sizes = [
        f"--{name}-{what}={n}" for name in ("text", "base", "detail") for what, n in (("pictures", 4), ("batch", 2))
    ]
    for again in (False, True):
        assert main(["toybox", "train", *words, *sizes]) == 0
        assert ("is not begun with again" in capsys.readouterr().out) is again


def test_released_weights_load_as_a_prior(folder, tmp_path):
    trainer, _ = train(folder, tmp_path, 2)
    size = release(trainer.checkpoint, tmp_path / "w.safetensors", {"pictures": 16})
    prior = load_toybox(tmp_path / "w.safetensors")
    assert size == (tmp_path / "w.safetensors").stat().st_size
    assert prior.view_words == toybox_view_words()
    for a, b in zip(prior.net.parameters(), trainer.average.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=4e-3 * float(b.abs().max()) + 1e-4, rtol=1e-3)  # eight bits
    with pytest.raises(ScoreliftError, match=r"does not know 'griffin'"):
        prior.encode_prompts(["a red griffin"])
    with pytest.raises(ScoreliftError, match=r"for 'mushrom' it knows mushroom"):
        prior.encode_prompts(["a red mushrom"])
    with pytest.raises(ScoreliftError, match="tokens"):
        prior.encode_prompts(["red " * 40])


def test_damaged_or_foreign_weights(tmp_path, folder):
    (tmp_path / "w.safetensors").write_bytes(b"junk")
    with pytest.raises(ScoreliftError, match=r"w\.safetensors is damaged"):
        load_toybox(tmp_path / "w.safetensors")
    trainer, _ = train(folder, tmp_path / "t", 1)
    with pytest.raises(ScoreliftError, match=r"weights that scorelift wrote, .*from_single_file"):
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
    config = dataclasses.replace(CONFIG, text_pictures=8 * 51)
    list(Trainer(config, Pictures(folder), tmp_path, network=SMALL).run(steps=50))
    entry = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[0])
    assert entry["step"] == 50
    assert entry["stage"] == "text"


def test_crops_are_refused(folder, tmp_path):
    render_shard(tmp_path, 0, seed=5, pictures=2, crops=True)
    crops, pictures = Pictures(tmp_path), Pictures(folder)
    for train_it in (
        lambda: Trainer(CONFIG, crops, tmp_path / "t", network=SMALL),
        lambda: train_judge(crops, 1),
        lambda: train_retriever(pictures, crops, 1),
    ):
        with pytest.raises(ScoreliftError, match="pictures: expected pictures of 64 x 64, got '96 x 96'"):
            train_it()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("warmup_steps", 0), ("cooldown", 0.0), ("cooldown", 1.5), ("unconditional", 7.0), ("text_pictures", -5),
        ("told", 9.0), ("unsaid", -0.1), ("noise_std", -1.0), ("base_noise_mean", float("nan")),
    ],
)  # fmt: skip
def test_plans_that_make_no_sense(name, value):
    with pytest.raises(ScoreliftError, match=f"{name.removeprefix('base_')}: expected"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize("command", ["train", "refiner"])
@pytest.mark.parametrize(("option", "value"), [("steps", "0"), ("steps", "-3"), ("save-every", "0")])
def test_no_steps_are_no_training(folder, tmp_path, capsys, command, option, value):
    out = tmp_path / "prior"
    words = ["--pictures", str(folder), "--out", str(out), f"--{option}", value]
    assert main(["toybox", command, *words]) == 2
    assert f"{option.replace('-', '_')}: expected" in capsys.readouterr().err
    assert not out.exists()


def test_a_folder_in_which_a_training_runs_is_refused(folder, tmp_path, capsys):
    out = tmp_path / "prior"
    with alone(out):
        assert main(["toybox", "train", "--pictures", str(folder), "--out", str(out), "--steps", "1"]) == 2
    assert "out: expected a folder in which no other process works" in capsys.readouterr().err
    assert not (out / "checkpoint.safetensors").exists()
