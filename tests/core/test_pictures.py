"""Pictures as PNG."""

from io import BytesIO

import numpy as np
from PIL import Image

from scorelift.core.pictures import png_bytes


def read(data):
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(int)


def test_png_holds_every_colour():
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    assert np.array_equal(read(png_bytes(picture)), picture)


def test_fewer_colours_are_near_and_take_fewer_bytes():
    across, down = np.meshgrid(np.arange(128), np.arange(128))
    grain = np.random.default_rng(0).integers(0, 8, (128, 128, 3))
    picture = (np.stack([across, down, (across + down) // 2], -1) + grain).astype(np.uint8)
    few = png_bytes(picture, colours=256)
    assert len(few) < 0.7 * len(png_bytes(picture))
    assert np.abs(read(few) - picture).mean() < 6
