"""Numbers in a recipe that cannot be meant are refused where they are given."""

import dataclasses
import typing

import pytest

from scorelift.core.errors import ScoreliftError
from scorelift.core.schedules import Constant, Ramp, Steps
from scorelift.recipes import known_parts
from scorelift.recipes.base import Penalties

MAY_BE_NEGATIVE = {
    "cfg_scale", "perp_neg", "view_scale", "scale", "lora_scale",  # guidance away from what is asked for
    "blob", "density_bias", "density_shift", "VoxelConfig.grey",  # of raw density and colour
    "elevation_deg", "overhead_deg", "decay",
}  # fmt: skip


def numbers():
    """Classes of a recipe's parts that need nothing to be made, and their fields of one number."""
    for part in known_parts():
        given = [f for f in dataclasses.fields(part) if f.default is f.default_factory is dataclasses.MISSING]
        if given or part.__name__ == "Prompting":
            continue
        kinds = typing.get_type_hints(part)
        for field in dataclasses.fields(part):
            kind = kinds[field.name]
            if typing.get_origin(kind) is not tuple and {int, float} & {kind, *typing.get_args(kind)}:
                yield pytest.param(part, field.name, id=f"{part.__name__}.{field.name}")


@pytest.mark.parametrize(("part", "name"), list(numbers()))
def test_a_number_below_zero_is_refused_unless_it_means_something(part, name):
    if {name, f"{part.__name__}.{name}"} & MAY_BE_NEGATIVE:
        part(**{name: -1})
    else:
        with pytest.raises((ScoreliftError, TypeError)):
            part(**{name: -1})


def test_there_are_many():
    assert len(list(numbers())) > 100


@pytest.mark.parametrize("schedule", [Constant(-1.0), Ramp(1.0, -0.5), Steps((0.0, 0.5), (0.1, -0.1))])
def test_a_penalty_rewards_nothing(schedule):
    with pytest.raises(ScoreliftError, match=r"penalties\.opacity: expected a number from 0 on"):
        Penalties(opacity=schedule)
