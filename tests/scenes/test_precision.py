"""Scenes compute in single precision: in half they would fail somewhere inside, so they refuse to be made half."""

import pytest
import torch

from scorelift.core.errors import ScoreliftError
from scorelift.scenes import CanvasConfig, GaussianConfig, HashConfig, MeshConfig, MLPConfig, VoxelConfig, build_scene

VOXELS = VoxelConfig(resolution=8, environment=True)
CONFIGS = [
    VOXELS, MLPConfig(width=8, blocks=1), HashConfig(levels=2, log2_rows=6, finest=16, occupancy=8),
    GaussianConfig(count=4, most=4), MeshConfig(resolution=4, paint=VOXELS), CanvasConfig(resolution=8, kind="mlp"),
]  # fmt: skip


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_a_scene_is_not_made_half(config):
    scene = build_scene(config)
    before = {name: value.clone() for name, value in scene.state_dict().items()}
    for change in (
        lambda: scene.half(), lambda: scene.to(torch.bfloat16), lambda: scene.to("cpu", torch.float16),
        lambda: scene.to(torch.zeros(1).half()),
    ):  # fmt: skip
        with pytest.raises(
            ScoreliftError, match=r"precision: expected single precision .*got torch\.b?float16\. Leave"
        ):
            change()
    after = scene.state_dict()
    assert all(torch.equal(after[name], value) and after[name].dtype == value.dtype for name, value in before.items())
    assert next(scene.double().float().parameters()).dtype == torch.float32


def test_nor_are_its_parts():
    scene = build_scene(VOXELS)
    for part in (scene.field, scene.environment, build_scene(MLPConfig(width=8, blocks=1)).environment):
        with pytest.raises(ScoreliftError, match="precision"):
            part.bfloat16()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)
def test_but_takes_numbers_that_are(config):
    scene, other = build_scene(config), build_scene(config)
    half = {name: v.half() if v.is_floating_point() else v for name, v in other.state_dict().items()}
    scene.load_state_dict(half)
    for name, value in scene.state_dict().items():
        assert value.dtype == other.state_dict()[name].dtype
        assert torch.equal(value, half[name].to(value.dtype))
