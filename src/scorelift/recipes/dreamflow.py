"""`dreamflow`: approximate probability flow, from a field to a mesh to its refinement, with the numbers of its authors.

Ref: Lee, Sohn, Shin, "DreamFlow: high-quality text-to-3D generation by approximating probability flow" (2024), Section
3.3 and Appendix D. Each line names its sentence; what is not there has the paper's number as its class's default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.camera_samplers import DreamFusionCameras
from ..core.schedules import Constant, Steps
from ..distill.noise import Trajectory
from ..distill.twin import TwinConfig
from ..distill.vsd import APFO
from ..scenes import HashConfig, MeshConfig
from . import small
from .base import LIT, NORMALS, UNLIT, Finish, Penalties, Prompting, Recipe, Stage
from .optimizers import AdamW

# "16 levels of hash dictionaries of size 2^19 and feature dimension of 4"; empty cells are skipped as by threestudio
FIELD = HashConfig(oriented=True, occupancy=32)
LEARNED = TwinConfig(rate=1e-4, along=True)  # "low-rank adapter", at each level's own noise; rate: ProlificDreamer's
ITSELF = TwinConfig(kind="identity")


@dataclass(frozen=True, kw_only=True)
class DreamFlow(Recipe):
    """Four stages in three parts: `nerf`; `geometry` and `texture` of the mesh; `refine`."""

    name: ClassVar[str] = "dreamflow"
    summary: ClassVar[str] = (
        "probability flow in three parts, hash grid, mesh, refiner, as its paper describes (for a GPU)"
    )
    presets: ClassVar[dict[str, str]] = {
        "small": "scaled down to some minutes on two CPU cores, with the embedded priors",
        "scene": "a place instead of an object, seen from inside (Figure 17): the field alone",
    }
    parts: ClassVar[dict[str, str]] = {"mesh": "texture"}

    prior: str = "sd21"  # "Stable Diffusion 2.1 for stage 1 and stage 2"
    finish: Finish = Finish(mesh_resolution=256, faces=100_000, texture=2048, preview_size=256, every_stage=True)

    nerf: Stage = Stage(
        steps=4000,  # "800 dense timesteps" with "l = 5 views"
        scene=FIELD,
        size=256,  # "we render 256 x 256 images"
        bands=16,  # ours: all rays at once may take 98 GiB, these 7
        noise=Trajectory(start=1.0, end=0.2, levels=800),  # "initial timestep t1 = 1.0 decrease to tN = 0.2"
        distiller=APFO(cfg_scale=7.5, twin=LEARNED),  # ours: 7.5; "fine-tuning ... using a low-rank adapter"
        cameras=DreamFusionCameras(),  # "camera distance from 1.0 to 1.5"
        shading=UNLIT,  # "We do not use shading, because it distracts learning texture"
        penalties=Penalties(orientation=Constant(1e-5)),  # "orientation loss helps"; its weight is not said
        optimizer=AdamW(
            rate=Constant(1e-2)
        ),  # "grid encoder with 1e-2, color and density network 1e-3, background 1e-3"
    )
    geometry: Stage = Stage(
        steps=5000,
        scene=MeshConfig(resolution=96, paint=FIELD, tuned="geometry"),  # "We extract 3D mesh ... using DMTet"
        size=512,  # ours
        noise=Trajectory(start=0.8, end=0.4, levels=1000),  # "from t1 = 0.8 to tN = 0.4", "We all use l = 5"
        distiller=APFO(cfg_scale=7.5, twin=ITSELF),  # "we simply let D_phi(x; sigma) = x"
        cameras=DreamFusionCameras(),
        shading=NORMALS,  # "by rendering normal maps"
        penalties=Penalties(bending=Constant(1e-5)),
        optimizer=AdamW(rate=Constant(1e-2), weight_decay=0.0),  # "AdamW optimizer of learning rate 1e-2"
    )
    texture: Stage = Stage(
        steps=2000,
        scene=MeshConfig(resolution=96, paint=FIELD, tuned="texture"),
        size=512,
        noise=Trajectory(start=0.5, end=0.1, levels=400),  # "from t1 = 0.5 to tN = 0.1"
        distiller=APFO(cfg_scale=7.5, twin=LEARNED),
        cameras=DreamFusionCameras(),
        shading=UNLIT,
        optimizer=AdamW(rate=Constant(1e-2)),  # "1e-2 for grid encoder, 1e-3 for color network"
    )
    refine: Stage = Stage(
        steps=300,
        scene=MeshConfig(resolution=96, paint=FIELD, tuned="texture"),
        prior="sdxl-refiner",
        size=1024,  # "we render the image with resolution of 1024 x 1024"
        noise=Trajectory(start=0.3, end=0.0, levels=30),  # "t1 = 0.3 to tN = 0.0 with l = 10", "spacing of 10"
        distiller=APFO(cfg_scale=7.5, twin=LEARNED),
        cameras=DreamFusionCameras(),
        shading=UNLIT,
        optimizer=AdamW(rate=Constant(1e-2)),
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        return cls._scene() if name == "scene" else cls._small()

    @classmethod
    def _scene(cls) -> Recipe:
        """A hollow to begin with, in which the cameras stand and look across. Ref: Figure 17, "different spatial
        density bias", as ProlificDreamer; the numbers are those of threestudio's configuration of that for scenes.
        """
        full = cls()
        place = replace(FIELD, extent=5.0, blob=-10.0, blob_radius=2.5, finest=4096)
        inside = DreamFusionCameras(
            distance=(0.1, 2.3), elevation_deg=(-10.0, 45.0), focal=(0.714, 1.374), position_jitter=0.0,
            target_std=0.0, up_std=0.0, even_area_share=0.0,
        )  # fmt: skip
        return replace(
            full, until="nerf", finish=replace(full.finish, distance=1.5, fov_deg=60.0),
            nerf=replace(full.nerf, scene=place, cameras=inside, prompting=Prompting(choice="none")),
        )  # fmt: skip

    @classmethod
    def _small(cls) -> Recipe:
        """What `small` scales: the hash grid 16 -> 8 levels of 2 features, 2048 -> 64 cells, 512 -> 48 samples a ray;
        256 -> 32 pixels for the field, 512 -> 64 for the mesh, 1024 -> 256 for the refinement; 4,000 + 5,000 + 2,000 +
        300 steps -> 600 + 200 + 150 + 80, with lower rates on the mesh and a higher one for the twin. As the embedded
        prior likes it: thin fog instead of a blob, emptied on the way; lit colours on the mesh instead of normals,
        which it has never seen; times from .9 on; its own cameras and backdrops.
        """
        full = cls()
        painted = replace(small.MESH, tuned="texture")
        learned = APFO(cfg_scale=7.5, twin=replace(LEARNED, rate=1e-3))
        return small.toylike(cls(
            nerf=replace(
                full.nerf, scene=small.FIELD, steps=600, size=32, bands=0, distiller=learned,
                noise=Trajectory(start=0.9, end=0.4, levels=600),
                penalties=Penalties(emptiness=Steps((0.0, 0.5), (5e-6, 5e-5))),
            ),
            geometry=replace(
                full.geometry, scene=small.MESH, steps=200, size=64, noise=Trajectory(start=0.6, end=0.35, levels=200),
                shading=LIT, penalties=Penalties(bending=Constant(1e-2), unevenness=Constant(1.0)),
                optimizer=small.CARVE,
            ),
            texture=replace(
                full.texture, scene=painted, steps=150, size=64, distiller=learned,
                noise=Trajectory(start=0.5, end=0.1, levels=150),
                shading=LIT, optimizer=small.PAINT,
            ),
            refine=replace(
                full.refine, scene=painted, steps=80, size=256, distiller=learned,
                noise=Trajectory(start=0.3, end=0.0, levels=80),
                shading=LIT, prior="toybox-refiner", optimizer=small.PAINT,
            ),
        ))  # fmt: skip
