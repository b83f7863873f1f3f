from dataclasses import dataclass

import pytest
import torch

from scorelift.core.lights import Lights
from scorelift.evaluate import janus
from scorelift.evaluate.janus import VIEWS, TwoFaced, calibrate, janus_score, ring_cameras
from scorelift.toybox.judge import WEIGHTS, load_judge
from scorelift.toybox.render import paint, render_layers
from scorelift.toybox.solid import build, slot_colours
from scorelift.toybox.spec import Spec
from scorelift.toybox.toys import KINDS


@dataclass
class Seen:
    view: list[str]


def test_only_side_and_back_views_count(monkeypatch):
    azimuth = ring_cameras().azimuth_deg
    labels = ["front" if a in (90.0, 180.0, 0.0) else "back" for a in azimuth.tolist()]

    def judge_pictures(_, pictures):
        return Seen([labels[int(i)] for i in pictures[:, 0, 0, 0]])

    monkeypatch.setattr(janus, "judge_pictures", judge_pictures)
    pictures = torch.arange(VIEWS).float().view(VIEWS, 1, 1, 1).expand(VIEWS, 3, 64, 64)
    assert janus_score(None, pictures) == 2 / 7


def test_a_two_faced_duck_shows_its_face_behind():
    specs = [Spec("duck", "yellow")] * VIEWS
    cameras = ring_cameras()
    lights = Lights(torch.tensor([[0.0, 0.0, 5.0]]).expand(VIEWS, 3), torch.full((VIEWS,), 0.7))

    def look(solid):
        return paint(render_layers(solid, cameras, lights), slot_colours(specs), torch.full((VIEWS, 3, 1, 1), 0.85))

    true, faced = build(specs), look(TwoFaced(**vars(build(specs))))
    plain = look(true)
    gap = (plain[0] - plain[6]).abs().mean()
    assert (faced[0] - faced[6]).abs().mean() < 0.2 * gap
    assert (faced[0] - plain[0]).abs().mean() < 0.3 * gap


@pytest.mark.skipif(not WEIGHTS.exists(), reason="the judge's weights are not in the package")
def test_two_faces_are_told_from_one(monkeypatch):
    monkeypatch.setattr(janus, "KINDS", {name: KINDS[name] for name in ("duck", "table", "car")})
    known = calibrate(load_judge()[0])  # of the duck and the car: a table has no front
    assert known["true"] < 0.15
    assert known["two_faced"] > known["true"] + 0.15
