"""Contact sheets of the closed world."""

from __future__ import annotations

import random

import numpy as np
import torch
from jaxtyping import UInt8

from ..core.cameras import Cameras, fov_for_size, orbit
from ..core.errors import bad
from ..core.lights import Lights
from ..core.pictures import labelled_sheet
from .grammar import say
from .palette import COLOUR_NAMES
from .spec import Spec, draw
from .toys import KINDS
from .truth import Truth
from .views import draw_view


def _camera(elevation: float, azimuth: float, fill: float = 0.88) -> Cameras:
    distance = torch.tensor([3.0])
    fov = fov_for_size(0.8, distance, torch.tensor([fill]))
    return orbit(torch.tensor([elevation]), torch.tensor([azimuth]), distance, fov)


def _light(camera: Cameras) -> Lights:
    return Lights(camera.position + torch.tensor([[0.0, 0.0, 1.5]]), torch.tensor([0.55]))


def _check_size(size: int) -> None:
    if size < 16 or size % 4:
        raise bad("size", expected="a multiple of 4, at least 16", got=size)


def kinds_sheet(size: int = 64) -> UInt8[np.ndarray, "h w 3"]:
    """Every kind of object, each in a colour of its own, seen from the front left."""
    _check_size(size)
    specs = [Spec(name, COLOUR_NAMES[i * 5 % len(COLOUR_NAMES)]) for i, name in enumerate(KINDS)]
    camera = _camera(18, 35)
    pictures = torch.cat([Truth(spec).picture(camera, _light(camera), size) for spec in specs])
    return labelled_sheet(pictures, [say(spec) for spec in specs], 8)


def random_sheet(n: int, seed: int, size: int = 64) -> UInt8[np.ndarray, "h w 3"]:
    """`n` random captions with a picture of each."""
    _check_size(size)
    rng = random.Random(seed)
    pictures, captions = [], []
    for _ in range(n):
        spec, elevation, azimuth = draw(rng, train=False), rng.uniform(-5, 80), rng.uniform(0, 360)
        camera = _camera(elevation, azimuth)
        pictures.append(Truth(spec).picture(camera, _light(camera), size))
        captions.append(say(spec, draw_view(elevation, azimuth, rng), rng))
    return labelled_sheet(torch.cat(pictures), captions, 8)
