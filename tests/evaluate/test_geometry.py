import dataclasses

import numpy as np
import pytest
import torch

from scorelift.evaluate.geometry import (
    Alignment,
    best_alignment,
    compare_geometry,
    compare_views,
    filled_cells,
    surface_samples,
)
from scorelift.export.texture import Asset
from scorelift.toybox.palette import rgb
from scorelift.toybox.truth import Truth


def as_asset(truth: Truth, colour=None) -> Asset:
    """The true mesh in one colour."""
    vertices, faces = truth.mesh(72)
    normals = truth.normal(torch.from_numpy(vertices)).numpy()
    albedo = np.zeros((4, 4, 3), np.uint8) + (np.array(colour or (0.5, 0.5, 0.5)) * 255).astype(np.uint8)
    return Asset(vertices, normals, np.full((len(vertices), 2), 0.5, np.float32), faces, albedo)


def test_the_truth_is_perfect():
    truth = Truth("a blue teapot")
    marks = compare_geometry(as_asset(truth), truth, samples=3000)
    assert marks["chamfer"] < 0.009  # as near as random points of one surface lie
    assert marks["f_score"] > 0.97
    assert marks["normal_consistency"] > 0.95
    assert marks["iou"] > 0.9
    assert abs(marks["yaw_deg"]) < 3


def test_another_object_is_worse():
    truth = Truth("a blue teapot")
    same, other = (compare_geometry(as_asset(Truth(t)), truth, samples=2000) for t in ("a red teapot", "a red chair"))
    assert other["chamfer"] > 3 * same["chamfer"]
    assert other["f_score"] < 0.7 * same["f_score"]
    assert other["iou"] < 0.6 * same["iou"]


def test_moved_turned_and_scaled_comes_back():
    truth = Truth("a red car")
    asset = as_asset(truth)
    moved = Alignment(0.7, 100.0, np.array([0.1, -0.05, 0.08]))
    turned = dataclasses.replace(asset, vertices=moved(asset.vertices).astype(np.float32))
    marks = compare_geometry(turned, truth, samples=3000)
    assert marks["chamfer"] < 0.012
    assert marks["iou"] > 0.85
    assert marks["yaw_deg"] == pytest.approx(-100, abs=4)


def test_up_is_kept():
    """A table lying on its side is not set upright."""
    truth = Truth("a brown table")
    asset = as_asset(truth)
    fallen = dataclasses.replace(asset, vertices=np.ascontiguousarray(asset.vertices[:, [0, 2, 1]]))
    assert compare_geometry(fallen, truth, samples=2000)["iou"] < 0.5


def test_alignment_of_points_is_exact(generator):
    points = torch.randn(400, 3, generator=generator).double().numpy() * np.array([1.0, 0.6, 0.3])
    true = Alignment(1.7, 25.0, np.array([0.3, -0.2, 0.5]))
    fit = best_alignment(points, true(points))
    assert fit.scale == pytest.approx(1.7, rel=1e-6)
    assert fit.yaw_deg == pytest.approx(25.0, abs=1e-4)
    np.testing.assert_allclose(fit.shift, true.shift, atol=1e-6)


def test_cells_of_a_ball():
    vertices, faces = Truth("an apple").mesh(64)
    inside = filled_cells(vertices, faces, 48)
    axis = (torch.arange(48) + 0.5) / 24 - 1
    centres = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    true = Truth("an apple").occupied(centres).view(48, 48, 48).numpy()
    assert (inside == true).mean() > 0.993


def test_samples_are_spread_by_area():
    vertices = np.array([[0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 5], [1, 0, 5], [0, 1, 5]], np.float32)
    points, normals = surface_samples(vertices, np.array([[0, 1, 2], [3, 4, 5]], np.int32), 6000)
    assert (points[:, 2] < 1).mean() == pytest.approx(2 / 3, abs=0.03)
    np.testing.assert_allclose(normals, [[0, 0, 1]] * 6000, atol=1e-6)


def test_views_of_the_truth_and_of_a_turned_one():
    truth = Truth("a red chair")
    asset = as_asset(truth, tuple(rgb("red").tolist()))
    right = compare_views(asset, truth)
    assert right["psnr"] > 22
    assert right["ssim"] > 0.9
    turned = Alignment(1.0, 90.0, np.zeros(3))
    wrong = compare_views(dataclasses.replace(asset, vertices=turned(asset.vertices).astype(np.float32)), truth)
    assert wrong["psnr"] < right["psnr"] - 4
