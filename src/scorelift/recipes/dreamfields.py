"""`dreamfields`: a field that looks like its caption to CLIP, without any diffusion, with the numbers of its authors.

Ref: Jain et al., "Zero-shot text-guided object generation with Dream Fields" (2022), Sections 3 and 4; "code" is the
authors' public one (`google-research/dreamfields`), base and "mq" settings. Different here: a ball of radius 1 for a
cube, which is not kept on the scene's centre of mass; the encoding is integrated over balls, theirs over cones; one
backdrop a step, where theirs has eight crops a chip, each before its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.backdrops import TextureSampler
from ..core.camera_samplers import DreamFusionCameras
from ..core.schedules import Constant, Ramp
from ..distill.similarity import Similarity
from ..scenes import MLPConfig
from .base import UNLIT, Finish, Penalties, Prompting, Recipe, Stage
from .dreamfusion import DreamFusion
from .optimizers import Adam

SIZE = 154
"""Code: 168 pixels a side, of which crops of 154 are shown; here the camera is nearer and shaken instead."""
SHOWN = (168 / SIZE) ** 2
"How much larger a share of such a picture an object takes than of the whole."
FOCAL = 1.2 * 1111.1111 / 800 * 168 / SIZE  # code: 1.2 times that of NeRF's synthetic pictures
CAMERAS = DreamFusionCameras(
    elevation_deg=(30.0, 30.0), even_area_share=0.0,  # code: 30 degrees
    distance=(4.0, 4.0), focal=(FOCAL, FOCAL), position_jitter=0.0, up_std=0.0,  # code
    target_std=0.06,  # ours: crops are up to 7 pixels off the middle, a tenth of the scene
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DreamFields(Recipe):
    """One stage of 10,000 steps. Its prior is no model; its distiller asks a scorer of pictures and captions."""

    name: ClassVar[str] = "dreamfields"
    summary: ClassVar[str] = "likeness to the caption by CLIP, no diffusion, as its paper describes it (for a GPU)"
    presets: ClassVar[dict[str, str]] = {"small": "scaled down to some minutes on two CPU cores, the toys' retriever"}

    prior: str = "pixels"
    finish: Finish = Finish(mesh_resolution=256, faces=100_000, texture=2048, preview_size=256)

    field: Stage = Stage(
        steps=10_000,  # paper
        scene=MLPConfig(
            blocks=4,  # code: four residual blocks, of 256 and 128; ours are of 128 and 128
            width=128,
            frequencies=8,  # code: up to 2^8, in random directions; ours along the axes
            spread=Ramp(6e-3, 3e-3, until=0.1),  # code: of a sample, 2 / 192 / sqrt(12); twice it, over 1,000 steps
            coarse_samples=192,  # code
            fine_samples=0,  # code
            density_bias=-0.37,  # ours: exp(-.37) is softplus(0), theirs, at the start
            blob=0.0,  # code
            extent=1.0,  # code: bounds of 1 along each axis
            environment=False,  # code
        ),
        size=SIZE,
        bands=16,  # ours: all rays at once take more than most cards have
        distiller=Similarity(scorer="openai/clip-vit-base-patch16", scale=float(SIZE**2)),  # code: ViT-B/16
        cameras=CAMERAS,
        shading=UNLIT,
        prompting=Prompting(choice="none"),
        backdrops=TextureSampler(),  # paper: noise, checkerboards, Fourier textures; code: a third each, 8 squares
        penalties=Penalties(
            transmittance=Constant(0.5),  # paper: lambda
            # paper: "from 40 % to 88 %" of the whole picture, ours of the part that is shown; code: in 500 steps,
            # straight in the logarithm of the opacity, ours in itself
            transmittance_target=Ramp(1 - 0.6 * SHOWN, 1 - 0.12 * SHOWN, until=0.05),
        ),
        optimizer=Adam(rate=Ramp(1e-5, 1e-4, until=0.15), betas=(0.9, 0.999), eps=1e-5),  # code, 1,500 steps
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """`small` is DreamFusion's `small` (1,200 steps, its network, 32 x 32 pixels, cameras, plain backdrops and
        optimizer) with this objective: likeness by the closed world's retriever, which knows no textures, and
        transmittance, whose target grows all the way. DreamFusion's Table 1 compares the two. Of the embedded prior
        only its words are asked.
        """
        (stage,) = DreamFusion.preset("small").stages().values()
        penalties = Penalties(transmittance=Constant(0.5))
        field = replace(
            stage, distiller=Similarity(), penalties=penalties, shading=UNLIT, prompting=Prompting(choice="none")
        )
        return cls(prior="toybox", finish=Finish(), field=field)
