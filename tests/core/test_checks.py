"""Values that make no sense are told where they are given."""

import math
from dataclasses import replace

import pytest

from scorelift.core.errors import ScoreliftError, check_seed
from scorelift.core.schedules import Constant, Ramp, Steps, WarmupCosine, extremes
from scorelift.export.shots import Shot
from scorelift.recipes import find_recipe
from scorelift.recipes.optimizers import Adam, AdamW, Shampoo
from scorelift.scenes import HashConfig


@pytest.mark.parametrize("seed", [-1, 1 << 32, 1 << 70])
def test_seeds(seed):
    with pytest.raises(ScoreliftError, match="seed: expected a whole number from 0 to 4294967295"):
        check_seed(seed)
    for name in ("quick", "canvas"):
        with pytest.raises(ScoreliftError, match="seed"):
            replace(find_recipe(name), seed=seed)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Constant(math.nan), "value: expected a finite number"),
        (lambda: Ramp(0.0, math.inf), "end: expected a finite number"),
        (lambda: Ramp(0.0, 1.0, log=True), "log: expected"),
        (lambda: WarmupCosine(0.0, 1.0, 0.0, 1.0), "warmup"),
        (lambda: Steps((0.0, 0.5), (1.0,)), "values: expected one for each of the 2 moments, got 1"),
        (lambda: Steps((0.1, 0.5), (1.0, 2.0)), "moments"),
        (lambda: Steps((0.0, 0.5, 0.2), (1.0, 2.0, 3.0)), "moments"),
        (lambda: Steps((), ()), "moments"),
        (lambda: Adam(rate=Constant(-0.1)), "rate: expected no learning rate below 0"),
        (lambda: AdamW(rate=Steps((0.0, 0.5), (0.1, -0.1))), "rate"),
        (lambda: Shampoo(rate=WarmupCosine(0.0, -1.0, 0.0, 0.1)), "rate"),
        (lambda: Adam(betas=(0.9, 1.0)), "betas"),
        (lambda: Shampoo(betas=(-0.1, 0.9)), "betas"),
        (lambda: Adam(betas=(0.9, math.nan)), "betas"),
        (lambda: AdamW(weight_decay=-1.0), "weight_decay"),
        (lambda: Shampoo(recompute_every=0), "recompute_every"),
        (lambda: HashConfig(occupancy=-1), "occupancy: expected at least 0"),
        (lambda: Shot(azimuth_deg=math.nan), "azimuth_deg: expected a finite number"),
        (lambda: Shot(light_azimuth_deg=math.inf), "light_azimuth_deg: expected a finite number"),
        (lambda: Shot(elevation_deg=math.nan), "elevation_deg"),
        (lambda: Shot(ambient=math.nan), "ambient"),
        (lambda: Shot(distance=math.inf), "distance"),
        (lambda: Shot(fov_deg=math.nan), "fov_deg"),
    ],
)
def test_settings(make, words):
    with pytest.raises(ScoreliftError, match=words):
        make()


def test_a_stage_has_finite_numbers_at_any_depth():
    shape = find_recipe("quick").shape
    with pytest.raises(ScoreliftError, match=r"distiller\.cfg_scale: expected a finite number, got nan"):
        replace(shape, distiller=replace(shape.distiller, cfg_scale=math.nan))


def test_schedules_stay_between_their_extremes():
    assert extremes(Constant(2.0)) == (2.0,)
    for schedule in (Ramp(3.0, 1.0), Steps((0.0, 0.5), (1.0, 4.0)), WarmupCosine(0.1, 2.0, 0.5, 0.2)):
        low, high = min(extremes(schedule)), max(extremes(schedule))
        assert all(low <= schedule.at(i / 10) <= high for i in range(11))
