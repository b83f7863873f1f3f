"""The Janus score: how often a view from the side or from behind is taken for a front.

The judge's view head decides. Its own mistakes are measured on true pictures, and its eye for the disease on objects
made two-faced by mirroring their front half.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..core.camera_samplers import RingSampler
from ..core.cameras import Cameras
from ..core.lights import Lights
from ..core.samplers import LightSampler
from ..toybox.judge import Judge, judge_pictures
from ..toybox.palette import COLOUR_NAMES
from ..toybox.points import Points
from ..toybox.render import paint, render_layers
from ..toybox.solid import Solid, build, slot_colours
from ..toybox.spec import Spec
from ..toybox.toys import KINDS

VIEWS = 12
"""Azimuths around the object; the seven from 90 to 270 degrees are the side and back views."""


def ring_cameras(elevation_deg: float = 15.0) -> Cameras:
    """The cameras of the score."""
    return RingSampler(count=VIEWS, elevation_deg=elevation_deg).ring()


def janus_score(judge: Judge, pictures: Float[Tensor, "12 3 64 64"]) -> float:
    """Share of an object's side and back views that the judge takes for the front; pictures from `ring_cameras`."""
    azimuth = ring_cameras().azimuth_deg
    away = (azimuth >= 90) & (azimuth <= 270)
    seen = judge_pictures(judge, pictures[away]).view
    return sum(view == "front" for view in seen) / len(seen)


class TwoFaced(Solid):
    """A solid whose back half mirrors its front half."""

    def own_frame(self, xyz: Float[Tensor, "b n 3"]) -> Points:
        p = super().own_frame(xyz)
        middle = self.centre[0]
        return Points((p.x - middle).abs() + middle, p.y, p.z)


def portraits(spec: Spec, cameras: Cameras, lights: Lights, *, two_faced: bool = False) -> Float[Tensor, "n 3 64 64"]:
    """True pictures of a toy, or of the same toy with the disease."""
    specs = [spec] * len(cameras)
    solid = build(specs)
    layers = render_layers(TwoFaced(**vars(solid)) if two_faced else solid, cameras, lights)
    return paint(layers, slot_colours(specs), torch.full((len(cameras), 3, 1, 1), 0.85))


def with_fronts() -> list[Spec]:
    """One toy of each kind that has a front, in some colour."""
    return [
        Spec(name, COLOUR_NAMES[i % len(COLOUR_NAMES)])
        for i, (name, kind) in enumerate(KINDS.items())
        if kind.has_front
    ]


def calibrate(judge: Judge, *, elevation_deg: float = 15.0, seed: int = 0) -> dict[str, float]:
    """The score of true objects and of two-faced ones, over every kind with a front."""
    generator, cameras = torch.Generator().manual_seed(seed), ring_cameras(elevation_deg)

    def score(two_faced: bool) -> float:
        scores = []
        for spec in with_fronts():
            lights = LightSampler().draw(cameras, generator)
            scores.append(janus_score(judge, portraits(spec, cameras, lights, two_faced=two_faced)))
        return sum(scores) / len(scores)

    return {"true": score(False), "two_faced": score(True)}
