"""Pictures of the closed world for training: traced once as layers, coloured anew each time they are drawn.

A shard on disk is `shard-NNNNN.npy` (uint8 layers, pictures x LAYERS x 64 x 64, or crops of larger ones) and
`shard-NNNNN.json` (what each shows). One traced toy serves every colouring, background and, if its halves mirror each
other, its mirror image, so a few hundred thousand traced pictures are as good as tens of millions.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..core.camera_samplers import OrbitSampler
from ..core.errors import ScoreliftError, bad
from ..core.files import replacing, write_bytes, write_json
from ..core.samplers import BackdropSampler, LightSampler
from .crops import CROP, WHOLE, backdrop_crops, draw_windows
from .grammar import say
from .render import LAYERS, paint, render_layers
from .solid import build, free_colours
from .spec import Spec, Worn, draw_colours, draw_structure
from .toys import KINDS
from .views import View, draw_view

SIZE = 64
BATCH = 32
SHARD = 8192
CROP_SHARD = 2048
ZOOMED = 0.15
MIRROR = (-1, 1, 1, 1, 1, -1, -1, -1, -1, 1, 1, 1, 1)
"Signs by which `Cameras.numbers` change when picture and world are mirrored left to right."


SNAPSHOT = OrbitSampler(even=False)
"How pictures are taken: any azimuth, elevation mostly under 50 degrees, the toy filling most of the frame."
ZOOMED_OUT = OrbitSampler(even=False, fill=(0.38, 0.62))


def render_shard(folder: Path, index: int, *, seed: int, train: bool = True, textureless: bool = False,
                 crops: bool = False, pictures: int | None = None,
                 on_batch: Callable[[int], None] | None = None) -> Path:  # fmt: skip
    """Trace shard `index` into `folder` unless it is there already; returns the path of its layers.

    With `train`, held-out (object, accessory) and (object, finish) pairs do not occur (colours are drawn later). With
    `textureless`, the layers hold the shape alone. With `crops`, they are parts of larger pictures.

    Raises:
        ScoreliftError: if the folder's other shards were traced otherwise.
    """
    path = folder / f"shard-{index:05d}.npy"
    folder.mkdir(parents=True, exist_ok=True)
    _keep(folder, {"seed": seed, "held_out": not train, "textureless": textureless, "crops": crops})
    if path.exists():
        return path
    rng = random.Random(f"{seed}/{index}")
    generator = torch.Generator().manual_seed(seed * 100_003 + index)
    pictures = pictures or (CROP_SHARD if crops else SHARD)
    size, side = (WHOLE, CROP) if crops else (SIZE, SIZE)
    layers = np.empty((pictures, LAYERS, side, side), np.uint8)
    entries = []
    for start in range(0, pictures, BATCH):
        count = min(BATCH, pictures - start)
        kind, worn, support, finish = draw_structure(rng, train=train)
        spec = Spec(kind, finish=finish, worn=tuple(Worn(w) for w in worn), support=support)
        zoomed = rng.random() < ZOOMED
        cameras = (ZOOMED_OUT if zoomed else SNAPSHOT).draw(count, generator)
        lights = LightSampler().draw(cameras, generator)
        solid = build([spec] * count, rng)
        window = draw_windows(solid, cameras, generator) if crops else None
        traced = render_layers(solid, cameras, lights, size, textureless=textureless, window=window)
        layers[start : start + count] = (traced * 255).round().byte().numpy()
        corners = [[]] * count if window is None else torch.stack([window.row, window.column], 1).tolist()
        angles = zip(cameras.elevation_deg.tolist(), cameras.azimuth_deg.tolist(), strict=True)
        for (elevation, azimuth), numbers, corner in zip(angles, cameras.numbers.tolist(), corners, strict=True):
            seen = [round(elevation, 3), round(azimuth, 3), [round(number, 4) for number in numbers]]
            entries.append([kind, worn, support, finish, zoomed, *seen, *corner])
        if on_batch is not None:
            on_batch(count)
    write_bytes(path.with_suffix(".json"), json.dumps(entries).encode())
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, layers)
    return path


def _keep(folder: Path, settings: dict[str, Any]) -> None:
    """Write down how a folder's shards are traced, in shards.json; raise if it was otherwise."""
    path = folder / "shards.json"
    if path.exists():
        known = json.loads(path.read_text(encoding="utf-8"))
        for name, value in settings.items():
            if known[name] != value:
                raise bad(name, expected=f"{known[name]}, with which the shards in {folder} were traced", got=value,
                          remedy="Choose another folder.")  # fmt: skip
    elif not any(folder.glob("shard-*.npy")):  # an earlier version's say nothing
        write_json(path, settings)


@dataclass(frozen=True)
class Batch:
    """Coloured pictures and what they show."""

    pictures: Float[Tensor, "b 3 h w"]
    "Rgb in [0, 1]."
    cutouts: Float[Tensor, "b 4 h w"]
    "The same without background: rgb times coverage, and coverage."
    specs: list[Spec]
    views: list[View]
    elevation_deg: Float[Tensor, " b"]
    azimuth_deg: Float[Tensor, " b"]
    cameras: Float[Tensor, "b 13"]
    "`Cameras.numbers`."
    zoomed: list[bool]
    captions: list[str]
    unsaid: list[str]
    "Captions of the same that do not say the view."


class Pictures:
    """Traced shards as an endless source of coloured, captioned batches; textureless ones are painted white."""

    def __init__(self, folder: Path, *, textureless: bool = False) -> None:
        self.textureless = textureless
        self.paths = sorted(folder.glob("shard-*.npy"))
        if not self.paths:
            raise ScoreliftError(f"pictures: no shards in {folder}. Trace them with `scorelift toybox render`.")
        self.layers = [np.load(path, mmap_mode="r") for path in self.paths]
        self.entries = [json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) for path in self.paths]
        if any(len(entries[0]) in (7, 9) for entries in self.entries):
            raise ScoreliftError(f"pictures: shards in {folder} say nothing of their cameras (an earlier version's). "
                                 "Trace them again with `scorelift toybox render`.")  # fmt: skip
        self.offsets = np.cumsum([0, *(len(layer) for layer in self.layers)])
        self.size = self.layers[0].shape[-1]

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def check_size(self, size: int) -> None:
        """Raise unless all are of that size: `SIZE`, or `CROP`, the crops'."""
        for layer in self.layers:
            if (found := layer.shape[-1]) != size:
                what, option = ("crops", " --crops") if size == CROP else ("pictures", "")
                raise bad("pictures", expected=f"{what} of {size} x {size}", got=f"{found} x {found}",
                          remedy=f"Trace them with `scorelift toybox render{option}`.")  # fmt: skip

    def draw(self, n: int, rng: random.Random, *, size: int | None = None, train: bool = True) -> Batch:
        """`n` random pictures, freshly coloured, captioned, half of them mirrored; `size` is theirs or a divisor."""
        generator = torch.Generator().manual_seed(rng.getrandbits(48))
        layers, specs, views, angles, cameras, zooms, captions, unsaid, corners = ([] for _ in range(9))
        for _ in range(n):
            shard = rng.randrange(len(self))
            which = int(np.searchsorted(self.offsets, shard, side="right")) - 1
            row = shard - int(self.offsets[which])
            kind, worn, support, finish, zoomed, elevation, azimuth, camera, *corner = self.entries[which][row]
            picture = self.layers[which][row]
            if KINDS[kind].symmetric and rng.random() < 0.5:
                picture, azimuth = picture[..., ::-1], -azimuth % 360
                camera = [sign * number for sign, number in zip(MIRROR, camera, strict=True)]
                corner = [corner[0], WHOLE - CROP - corner[1]] if corner else []
            spec = Spec(kind, finish=finish, worn=tuple(Worn(w) for w in worn), support=support)
            spec = draw_colours(rng, spec, train=train)
            view = draw_view(elevation, azimuth, rng)
            layers.append(torch.from_numpy(picture.copy()))
            specs.append(spec)
            views.append(view)
            angles.append((elevation, azimuth))
            cameras.append(camera)
            zooms.append(zoomed)
            corners.append(tuple(corner))
            captions.append(say(spec, view, rng, zoomed=zoomed))
            unsaid.append(say(spec, None, rng, zoomed=zoomed))
        stacked = torch.stack(layers).float().div_(255)
        shrink = self.size // (size or self.size)
        if shrink > 1:
            stacked = torch.nn.functional.avg_pool2d(stacked, shrink)
        colours = torch.stack([free_colours(spec, rng) for spec in specs])
        if self.textureless:
            colours = torch.ones_like(colours)
        bare = paint(stacked, colours, stacked.new_zeros(n, 3, 1, 1))
        cutouts = torch.cat([bare, stacked[:, -1:]], 1)
        if corners[0]:
            backdrops = torch.nn.functional.avg_pool2d(backdrop_crops(corners, self.size, generator), shrink)
        else:
            backdrops = BackdropSampler().draw(n, stacked.shape[-1], generator)
        pictures = (bare + (1 - stacked[:, -1:]) * backdrops).clamp(0, 1)
        elevation_deg, azimuth_deg = torch.tensor(angles).unbind(-1)
        numbers = torch.tensor(cameras)
        return Batch(pictures, cutouts, specs, views, elevation_deg, azimuth_deg, numbers, zooms, captions, unsaid)
