import dataclasses
import json
import random

import numpy as np
import pytest
import torch

from scorelift.core.camera_samplers import OrbitSampler
from scorelift.core.cameras import Window
from scorelift.core.errors import ScoreliftError
from scorelift.core.files import load_state
from scorelift.core.samplers import LightSampler
from scorelift.priors.base import ViewWords
from scorelift.priors.pyramid import Pyramid, UNetConfig
from scorelift.priors.refiner import FORMAT, RefinerConfig, ToyboxRefiner
from scorelift.priors.registry import load_prior
from scorelift.priors.toybox import ToyboxPrior
from scorelift.priors.unet import TrunkConfig
from scorelift.toybox.crops import CROP, WHOLE, backdrop_crops, crop, draw_windows
from scorelift.toybox.data import Pictures, render_shard
from scorelift.toybox.refiner import RefinerPlan, RefinerTrainer, refine_loss
from scorelift.toybox.release import release
from scorelift.toybox.render import TILE, render_layers
from scorelift.toybox.solid import build
from scorelift.toybox.spec import Spec
from scorelift.toybox.train import learn_tokenizer

PLAN = RefinerPlan(refine_pictures=20, refine_batch=4, warmup_steps=2)
TRUNK = dataclasses.replace(RefinerConfig(vocabulary=0).trunk, widths=(16, 16, 32), text_dim=32, embedding=32)
SMALL = RefinerConfig(vocabulary=len(learn_tokenizer()), text_layers=1, trunk=TRUNK)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("crops")
    render_shard(path, 0, seed=5, crops=True, pictures=32)
    return path


@pytest.fixture(scope="module")
def prior():
    base = TrunkConfig(widths=(16, 32, 32), text_dim=32, embedding=32)
    config = UNetConfig(vocabulary=SMALL.vocabulary, text_layers=1, base=base)
    config = dataclasses.replace(config, detail=dataclasses.replace(config.detail, text_dim=32))
    return ToyboxPrior(Pyramid(config), learn_tokenizer(), ["duck"], ViewWords())


def scene(n, generator):
    solid = build([Spec("teapot")] * n, random.Random(0))
    cameras = OrbitSampler(even=False).draw(n, generator)
    return solid, cameras, LightSampler().draw(cameras, generator)


def test_a_window_shows_its_part_of_the_picture(generator):
    solid, cameras, lights = scene(3, generator)
    window = Window(torch.tensor([0, 24, 40]), torch.tensor([16, 0, 32]), 24)
    whole = render_layers(solid, cameras, lights, 64)
    part = render_layers(solid, cameras, lights, 64, window=window)
    assert part.shape == (3, whole.shape[1], 24, 24)
    torch.testing.assert_close(part, crop(whole, window), atol=1e-6, rtol=0)
    for i, (row, column) in enumerate([(0, 16), (24, 0), (40, 32)]):
        assert torch.equal(crop(whole, window)[i], whole[i, :, row : row + 24, column : column + 24])


def test_windows_look_at_the_toy(generator):
    solid, cameras, lights = scene(16, generator)
    window = draw_windows(solid, cameras, generator)
    for corner in (window.row, window.column):
        assert 0 <= int(corner.min()) <= int(corner.max()) <= WHOLE - CROP
        assert len(corner.unique()) > 6
        assert not (corner % TILE).any()
    opacity = crop(render_layers(solid, cameras, lights, WHOLE, 1), window)[:, -1]
    assert float(opacity.mean()) > 0.4
    assert float((opacity.amax((1, 2)) > 0).float().mean()) == 1.0


def test_a_crops_backdrop_is_that_of_the_whole_picture():
    """Side by side, the crops' gradients go on into each other."""
    corners = [(0, 0), (0, CROP)]
    left, right = (
        backdrop_crops([corner], CROP, torch.Generator().manual_seed(seed))[0]
        for seed in (4,) for corner in corners
    )  # fmt: skip
    slope = left[:, :, 1:] - left[:, :, :-1]
    torch.testing.assert_close(right[:, :, 0] - left[:, :, -1], slope[:, :, -1], atol=1e-5, rtol=0)


def test_crops_are_drawn_as_pictures_are(folder):
    entries = json.loads((folder / "shard-00000.json").read_text())
    assert all(len(entry) == 10 for entry in entries)
    assert np.load(folder / "shard-00000.npy", mmap_mode="r").shape[2:] == (CROP, CROP)
    batch = Pictures(folder).draw(12, random.Random(0))
    assert batch.pictures.shape == (12, 3, CROP, CROP)
    assert 0 <= float(batch.pictures.min()) <= float(batch.pictures.max()) <= 1
    assert Pictures(folder).draw(2, random.Random(0), size=48).pictures.shape[-1] == 48


def trainer(folder, out, prior, plan=PLAN):
    return RefinerTrainer(plan, Pictures(folder), out, prior=prior, network=SMALL)


def test_training_lowers_the_loss(folder, tmp_path, prior):
    plan = dataclasses.replace(PLAN, refine_pictures=4 * 30, cooldown=0.1)
    training = trainer(folder, tmp_path, prior, plan)
    batch = Pictures(folder).draw(12, random.Random(1))
    ids = training.tokenizer.batch(batch.captions)
    x0, sigma_ve = batch.pictures * 2 - 1, torch.linspace(-3, -0.6, 12).exp()
    noise = torch.randn(x0.shape)

    def loss():
        with torch.no_grad():
            return float(refine_loss(training.net, x0, ids, sigma_ve, noise))

    before = loss()
    assert before == pytest.approx(1.0, abs=0.3)  # a network that predicts nothing
    for _ in range(30):
        training.one_step()
    assert loss() < 0.93 * before


def test_resumed_training_equals_uninterrupted(folder, tmp_path, prior):
    whole = trainer(folder, tmp_path / "whole", prior)
    list(whole.run())
    list(trainer(folder, tmp_path / "parts", prior).run(steps=2))
    parts = trainer(folder, tmp_path / "parts", prior)
    assert parts.resume()
    list(parts.run())
    assert parts.step == whole.step == 5 == PLAN.total_steps
    first, second = (load_state(tmp_path / n / "checkpoint.safetensors") for n in ("whole", "parts"))
    for part in ("net", "average"):
        assert all(torch.equal(first[part][k], second[part][k]) for k in first[part])


def test_the_text_encoder_is_the_embedded_priors_and_stays_so(folder, tmp_path, prior):
    training = trainer(folder, tmp_path, prior)
    list(training.run(steps=2))
    known = prior.net.base.text.state_dict()
    for net in (training.net, training.average):
        assert all(torch.equal(known[name], t) for name, t in net.text.state_dict().items())


def test_released_weights_load_as_a_prior(folder, tmp_path, prior):
    training = trainer(folder, tmp_path, prior)
    list(training.run(steps=2))
    path = tmp_path / "w.safetensors"
    assert release(training.checkpoint, path, form=FORMAT) == path.stat().st_size
    refiner = load_prior(str(path))
    assert isinstance(refiner, ToyboxRefiner)
    assert refiner.net.config == SMALL
    assert refiner.sigma_range == SMALL.sigma_range
    for a, b in zip(refiner.net.parameters(), training.average.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=4e-3 * float(b.abs().max()) + 1e-4, rtol=1e-3)  # eight bits
    with pytest.raises(ScoreliftError, match=r"does not know 'griffin'"):
        refiner.encode_prompts(["a red griffin"])


def test_whole_pictures_are_refused(tmp_path, prior):
    render_shard(tmp_path, 0, seed=5, pictures=2)
    with pytest.raises(ScoreliftError, match=r"crops of 96 x 96, got '64 x 64'.*--crops"):
        trainer(tmp_path, tmp_path / "t", prior)
