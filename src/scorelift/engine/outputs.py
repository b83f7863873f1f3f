"""What a finished scene leaves in its run's folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ..core.camera_samplers import ring
from ..core.errors import DamagedError, EmptySceneError, ScoreliftError, bad
from ..core.files import write_bytes
from ..core.memory import memory_errors
from ..core.pictures import to_uint8, write_png
from ..export.gltf import from_glb, to_glb
from ..export.obj import to_obj
from ..export.pictures import close_up, preview, strip, turntable, write_mp4
from ..export.ply import to_ply
from ..export.report import report_html
from ..export.shots import Shot, grey_depth, shoot_mesh, shoot_scene
from ..export.splats import to_splats
from ..export.stl import to_stl
from ..export.surface import extract_surface
from ..export.texture import Asset, bake, colour_of
from ..priors.base import Prior
from ..recipes.base import Finish
from ..scenes import Body, CanvasConfig, Model, Scene, Volume, VoxelField, solid
from ..scenes.canvas import Flat
from .results import final_scene, last_gaussians
from .run import Run, slug

FORMATS = {"glb": "glb", "obj": "obj", "ply": "ply", "stl": "stl", "splat": "ply"}
"And how their files' names end."


def make_asset(scene: Body, finish: Finish) -> Asset:
    """Mesh, unwrap and bake a scene; on the CPU.

    Raises:
        EmptySceneError: if it has no surface.
        ScoreliftError: if it has none of the density that is asked for.
    """
    scene = solid(scene, finish.mesh_resolution)
    try:
        surface = extract_surface(
            scene, resolution=finish.mesh_resolution, faces=finish.faces, distance=finish.distance,
            fov_deg=finish.fov_deg, density=finish.density,
        )  # fmt: skip
    except EmptySceneError as error:
        if not isinstance(scene, Volume):
            raise
        raise EmptySceneError(
            f"{error} Or add --resume and --finish.density, a lower density of your choice."
        ) from error
    asset = bake(colour_of(scene), surface, finish.texture)
    if not isinstance(scene, Model):
        return asset
    scale, x, y, z = scene.placement.tolist()
    return replace(asset, scale=scale, centre=(x, y, z))


def portrayed(scene: Scene, work: Callable[[Scene], object]) -> object:
    """Let pictures be made of a scene where that is quickest.

    On the CPU, whose renderers are compiled; a network that must be asked sample by sample stays where it is, unless
    memory runs out there.
    """
    still = scene.gridded()
    if not isinstance(still, Volume) or isinstance(still.field, VoxelField):
        return work(still.to("cpu"))
    with suppress(torch.OutOfMemoryError), memory_errors():
        return work(still)
    return work(still.to("cpu"))


def write_live(path: Path, scene: Scene, finish: Finish, size: int = 96) -> None:
    """live.png: a look at a scene on the way: four sides of it; of a flat one, its pictures."""
    if isinstance(scene, Flat):
        write_png(path / "live.png", to_uint8(scene.render_all(size)))
    else:
        write_png(path / "live.png", strip(scene.coloured(), finish.ring(4), size))


def write_preview(path: Path, scene: Scene, finish: Finish) -> float:
    """preview.png, the scene as large as it fits; returns how much it was enlarged."""
    zoom = close_up(scene, finish.ring(8))  # a crate is widest across its corners
    write_png(path / "preview.png", preview(scene, finish.ring(8, zoom=zoom), finish.preview_size))
    return zoom


def write_pictures(path: Path, scene: Scene, finish: Finish) -> None:
    """preview.png and, of a volume, turntable.mp4."""
    if isinstance(scene, Flat):
        size = max(scene.resolution, 64)
        rgb = scene.render_all(size)
        write_png(path / "preview.png", to_uint8(rgb))
        return
    zoom = write_preview(path, scene, finish)
    frames = turntable(scene, finish.ring(finish.turntable_frames, 18.0, zoom), finish.turntable_size)
    write_mp4(path / "turntable.mp4", frames)


@torch.no_grad()
def write_decoded(path: Path, scene: Scene, prior: Prior, views: int = 8) -> None:
    """decoded.png: a scene of latents from around, decoded by its prior; under each its depth, in the pixels decoded.

    Ref: SJC App. A3: depth beyond the latents' resolution by rays between their pixels.
    """
    cameras = [ring(views)[i : i + 1] for i in range(views)]
    latents = (scene.photograph(camera, prior.sizes[0]).rgb for camera in cameras)
    pictures = [prior.decode(z.to(scene.device))[0].cpu() for z in latents]
    scene, columns = scene.to("cpu").coloured(), []  # whose renderer is compiled, and needs little memory
    for camera, rgb in zip(cameras, pictures, strict=True):
        fine = scene.render(camera, rgb.shape[-1])
        assert fine.depth is not None
        columns.append(torch.cat([rgb, grey_depth(fine.depth[0], fine.opacity[0], 1.0)], -2))
    write_png(path / "decoded.png", to_uint8(torch.cat(columns, -1)))


def write_report(run: Run, facts: dict) -> None:
    """report.html."""
    page = report_html(run.path, run.prompt, facts, run.config, run.read_log())
    write_bytes(run.path / "report.html", page.encode())


def shooter(run: Run, source: str) -> Callable[[Shot], Tensor]:
    """What takes pictures of a finished run: of its scene, or of its exported mesh.

    Raises:
        ScoreliftError: if the run has no such thing.
    """
    if source == "scene":
        scene = final_scene(run)
        return lambda shot: shoot_scene(scene, shot)
    asset = load_asset(run)
    return lambda shot: shoot_mesh(asset, shot)


def check_solid(run: Run, asked: str) -> None:
    """Raise if a run's recipe is of flat pictures, which have no such thing."""
    if isinstance(list(run.recipe.stages().values())[-1].scene, CanvasConfig):
        raise bad("run", expected="a run of a 3-D recipe", got=str(run.path),
                  remedy=f"The recipe {run.recipe.name} makes flat pictures: no {asked}.")  # fmt: skip


def load_asset(run: Run) -> Asset:
    """The exported mesh of a run.

    Raises:
        ScoreliftError: if it has none, or one that is damaged.
    """
    check_solid(run, "mesh")
    source = run.path / "asset.glb"
    if not source.exists():
        raise bad("run", expected="a run with an asset.glb", got=str(run.path), remedy="Continue it with --resume.")
    try:
        return from_glb(source.read_bytes())
    except DamagedError as error:
        raise ScoreliftError(f"run: {source} is damaged. Remove {run.path / 'metrics.json'} and continue the run with "
                             "--resume, which writes it again.") from error  # fmt: skip


def export_run(run: Run | str | Path, form: str, out: str | Path | None = None) -> list[Path]:
    """Write a finished run's asset as GLB, OBJ (with its texture), PLY, STL, or its Gaussians; returns the files.

    Args:
        out: the file to write, or a folder (a name without a suffix is one); default the run's.

    Raises:
        ScoreliftError: for an unknown format, a file named after another one, or a run without an asset.
    """
    if form not in FORMATS:
        raise bad("format", expected=f"one of {', '.join(FORMATS)}", got=form)
    run = run if isinstance(run, Run) else Run.open(run)
    out = None if out is None else Path(out)
    if out is None or out.is_dir() or not out.suffix:
        folder, stem = out or run.path, "splats" if form == "splat" else "asset"
    else:
        suffix = out.suffix.lower().removeprefix(".")
        if suffix in FORMATS and suffix != FORMATS[form]:
            raise bad("out", expected=f"a name ending in .{FORMATS[form]}", got=str(out),
                      remedy=f"Or choose --format {suffix}.")  # fmt: skip
        folder, stem = out.parent, out.stem if suffix == FORMATS[form] else out.name
    if form == "splat":
        files = {f"{stem}.ply": to_splats(last_gaussians(run))}
    else:
        files = _mesh_files(load_asset(run), form, stem, slug(run.prompt))
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_bytes(folder / name, data)
    return [folder / name for name in files]


def _mesh_files(asset: Asset, form: str, stem: str, name: str) -> dict[str, bytes]:
    if form == "glb":
        return {f"{stem}.glb": to_glb(asset, name)}
    asset = asset.placed()
    if form == "obj":
        return to_obj(asset, stem)
    return {f"{stem}.stl": to_stl(asset)} if form == "stl" else {f"{stem}.ply": to_ply(asset)}
