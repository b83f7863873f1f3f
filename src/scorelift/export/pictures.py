"""Pictures for people: renders of a scene from around, contact sheets, PNG and MP4 files."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ..core.cameras import Cameras
from ..core.files import replacing
from ..core.lights import Lights
from ..core.pictures import to_uint8
from ..scenes import Scene
from .shots import grey_depth

BACKDROP = 0.88
ROWS = ("colour", "textureless", "normal", "depth")


def head_light(cameras: Cameras, ambient: float = 0.45) -> Lights:
    """A light above each camera's shoulder."""
    up = cameras.c2w[:, :3, 1]
    return Lights(cameras.position + 1.2 * up, torch.full((len(cameras),), ambient))


def four_ways(scene: Scene, cameras: Cameras, size: int) -> dict[str, Float[Tensor, "b 3 h w"]]:
    """Colour, textureless, normal and depth pictures from each camera."""
    backdrop = torch.full((len(cameras), 3, 1, 1), BACKDROP)
    lights = head_light(cameras)
    shots = {way: scene.photograph(cameras, size, lights=lights, shading=way, background=backdrop)
             for way in ("albedo", "textureless", "normal")}  # fmt: skip
    base = shots["albedo"]
    assert base.depth is not None
    depth_rgb = torch.stack([grey_depth(*pair, BACKDROP) for pair in zip(base.depth, base.opacity, strict=True)])
    return {
        "colour": base.rgb,
        "textureless": shots["textureless"].rgb,
        "normal": shots["normal"].rgb,
        "depth": depth_rgb,
    }


def close_up(scene: Scene, cameras: Cameras, *, margin: float = 0.15, most: float = 1.8) -> float:
    """How much larger a scene can be shown, at most `most` times; a share `margin` of the picture stays free."""
    size = 48
    opacity = scene.photograph(cameras, size, background=torch.zeros(len(cameras), 3, 1, 1)).opacity[:, 0]
    where = (opacity > 0.5).nonzero()[:, 1:]
    if len(where) == 0:
        return 1.0
    reach = ((where + 0.5) * 2 / size - 1).abs().max()
    return min(most, (1 - margin) / float(reach + 1 / size))


def preview(scene: Scene, cameras: Cameras, size: int = 128) -> UInt8[np.ndarray, "h w 3"]:
    """Contact sheet of cameras (columns) by colour, textureless, normal, depth (rows)."""
    shots: dict[str, list[Tensor]] = {row: [] for row in ROWS}
    for i in range(len(cameras)):
        for row, picture in four_ways(scene, cameras[i : i + 1], size).items():
            shots[row].append(picture[0])
    return to_uint8(torch.cat([torch.cat(shots[row], -1) for row in ROWS], -2))


def strip(scene: Scene, cameras: Cameras, size: int) -> UInt8[np.ndarray, "h w 3"]:
    """A small row of colour pictures, for live previews."""
    backdrop = torch.full((len(cameras), 3, 1, 1), BACKDROP)
    rgb = scene.photograph(cameras, size, background=backdrop).rgb
    return to_uint8(torch.cat(list(rgb), -1))


def turntable(scene: Scene, cameras: Cameras, size: int) -> list[UInt8[np.ndarray, "h w 3"]]:
    """A frame for each camera, softly lit."""
    pictures = []
    for i in range(len(cameras)):
        camera = cameras[i : i + 1]
        backdrop = torch.full((1, 3, 1, 1), BACKDROP)
        render = scene.photograph(camera, size, lights=head_light(camera, 0.6), shading="shaded", background=backdrop)
        pictures.append(to_uint8(render.rgb[0]))
    return pictures


X264 = {"crf": "18", "x264-params": "rc-lookahead=0:mbtree=0"}
"Quality, not a rate; and no looking ahead, in which x264 comes to other choices each time: videos are to be the same."


def write_mp4(path: Path, frames: Sequence[np.ndarray], fps: int = 24) -> None:
    """Write frames (even height and width) as an MPEG-4 video every player opens, whole or not at all."""
    height, width, _ = frames[0].shape
    with replacing(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        codec, options = ("libx264", X264) if "libx264" in av.codecs_available else ("mpeg4", {})
        stream = cast(av.VideoStream, container.add_stream(codec, rate=fps, options=options))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, fps)
        if not options:
            stream.bit_rate = 1_500_000
        for picture in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
