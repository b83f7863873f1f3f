"""`latentnerf`: a field whose features are latents, then the same in colours, with the numbers of its authors.

Ref: Metzer et al., "Latent-NeRF for shape-guided generation of 3D shapes and textures" (2023), Sections 3.1 and 3.2;
"code" is the authors' public one (`eladrich/latent-nerf`), with its default settings. Different here: the field is a
grid of voxels, where theirs is a hash grid with a network (voxels are what renders latents here); the linear map from
latents to colours is applied once, where theirs is learned further. A coarse mesh leads either stage with
`--latent.guide.path MESH` (their sketch-shapes, `Guide`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.camera_samplers import DreamFusionCameras
from ..core.schedules import Constant, Steps
from ..distill.noise import Times, annealed
from ..distill.sds import SDS
from ..scenes.voxels import VoxelConfig
from . import small
from .base import UNLIT, Finish, Penalties, Prompting, Recipe, Stage
from .optimizers import Adam

VOXELS = VoxelConfig(  # all ours
    resolution=100, shape="box", step=0.5, density_scale=1.0, learned_gain=True, blob_radius=0.6, blob_sharpness=4.0,
    prune_from=0.1, prune_alpha=1e-4, environment=True,
)  # fmt: skip
CAMERAS = DreamFusionCameras(  # code: distance 1 to 1.5, down to 60 degrees below, fov 40 to 70, nothing shaken
    distance=(1.0, 1.5), focal=(0.714, 1.374), elevation_deg=(-60.0, 90.0), even_area_share=0.0, position_jitter=0.0,
    target_std=0.0, up_std=0.0,
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LatentNeRF(Recipe):
    """Two stages: `latent`, in the prior's own space, no encoder in the loop; `refine`, in colours, through it."""

    name: ClassVar[str] = "latentnerf"
    summary: ClassVar[str] = "SDS into voxels of latents, then of colours; a mesh may guide it (for a GPU: 7,000 steps)"
    presets: ClassVar[dict[str, str]] = {"small": "scaled down to half a minute or so on two CPU cores"}

    prior: str = "sd15"  # code: 1.4, of the same network
    finish: Finish = Finish(mesh_resolution=256, faces=100_000, texture=2048, preview_size=256, every_stage=True)

    latent: Stage = Stage(
        steps=5000,  # code
        scene=replace(VOXELS, albedo_spread=1.0),  # ours
        size=64,  # code; paper: the latents' own size
        latent=True,
        noise=Times(low=Constant(0.02), high=Constant(0.98)),  # code
        distiller=SDS(cfg_scale=100.0, weighting="alpha_sigma2"),  # code
        cameras=CAMERAS,
        shading=UNLIT,  # code
        prompting=Prompting(choice="bare", overhead_deg=60.0),  # code; "front" is 70 degrees wide there
        penalties=Penalties(entropy=Constant(5e-4 / 64**2)),  # code: 5e-4, against a sum over pixels
        optimizer=Adam(rate=Constant(1e-2), eps=1e-15),  # code: 1e-2 for the grid's features, betas .9 and .99
    )
    refine: Stage = Stage(
        steps=2000,  # ours; code: 5,000 for any field
        scene=VOXELS,
        size=64,  # code, enlarged to 512 for the encoder
        noise=Times(low=Constant(0.02), high=Constant(0.98)),  # code
        distiller=SDS(cfg_scale=100.0, weighting="alpha_sigma2"),
        cameras=CAMERAS,
        shading=UNLIT,
        prompting=Prompting(choice="bare", overhead_deg=60.0),
        penalties=Penalties(entropy=Constant(5e-4 / 64**2)),
        optimizer=Adam(rate=Constant(1e-2), eps=1e-15),
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """What `small` scales: 100 -> 64 voxels along an edge in a ball, half -> whole voxel steps, 5,000 + 2,000 ->
        500 + 200 steps, 64 -> 32 pixels for `latent`, cfg 100 -> 15, higher rates. As the embedded prior likes: falling
        noise, thin fog instead of a blob, emptiness for entropy, its own backdrops, and cameras of its own,
        told in place of view phrases. Its space is that of pixels: `latent` shows it features that are
        colours, at half its size.
        """
        full = cls()
        voxels = replace(
            VOXELS, resolution=64, step=1.0, shape="ball", density_shift=-1.0, blob_sharpness=0.0, prune_alpha=0.004,
            environment=False,
        )  # fmt: skip
        recipe = cls(
            latent=replace(
                full.latent, steps=500, scene=voxels, size=32, noise=annealed(0.85, 0.5, 0.2),
                distiller=SDS(cfg_scale=15.0), penalties=Penalties(emptiness=Steps((0.0, 0.5), (0.002, 0.02))),
                optimizer=Adam(rate=Constant(0.05)),
            ),
            refine=replace(
                full.refine, steps=200, scene=voxels, noise=annealed(0.5, 0.25, 0.15),
                distiller=SDS(cfg_scale=15.0), penalties=Penalties(emptiness=Constant(0.1), roughness=Constant(0.03)),
                optimizer=Adam(rate=Constant(0.05)),
            ),
        )  # fmt: skip
        return small.toylike(recipe)
