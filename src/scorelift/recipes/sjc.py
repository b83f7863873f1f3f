"""`sjc`: perturb-and-average scores chained into a voxel radiance field, with the numbers of its authors.

Ref: Wang, Du, Li, Yeh, Shakhnarovich, "Score Jacobian Chaining: lifting pretrained 2D diffusion models for 3D
generation" (2022), Sections 4 and 5 and Appendix A3; what they leave out is from their public code.
Each line names its sentence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from ..core.camera_samplers import HemisphereSampler
from ..core.schedules import Constant, Steps
from ..distill.noise import Times, annealed
from ..distill.sjc import SJC
from ..scenes.voxels import VoxelConfig
from . import small
from .base import UNLIT, Penalties, Prompting, Recipe, Stage
from .optimizers import Adamax

RAYS, SAMPLES = 64 * 64, 275
"""Of a render; samples of its longest ray, the mean over the recipe's cameras. Theirs sums gradients over rays and
averages the emptiness over samples (Eq. 26; in the code, of the longest ray); ours does the opposite."""
SMALL_SAMPLES = 346
"""What the weights of `small` were tuned with. Its own rays have 63 samples at most, so that by Eq. 26 its lambdas 1e4
and 8e4 are 1.8e3 and 1.5e4."""


def emptiness(weight: float, samples: int = SAMPLES) -> float:
    """Our weight for one of the paper's, whose mean is over so many samples a ray."""
    return weight / (RAYS * samples)


@dataclass(frozen=True, kw_only=True)
class ScoreJacobianChaining(Recipe):
    """One stage of 10,000 steps on a 100^3 grid."""

    name: ClassVar[str] = "sjc"
    summary: ClassVar[str] = "score Jacobian chaining into unlit voxels, as its paper describes it (10,000 steps)"
    presets: ClassVar[dict[str, str]] = {"small": "scaled down to half a minute on two CPU cores"}

    field: Stage = Stage(
        steps=10_000,  # "gradient descent at a learning rate of 0.05 for 10,000 steps"
        scene=VoxelConfig(
            resolution=100,  # "voxel grids are of size 100^3 ... normalized side length [-1, 1]^3"
            shape="box",
            step=0.5,  # code: half a voxel
            density_scale=1.0,
            density_shift=-1.0,  # code: softplus with a learned scale, shifted by -1
            learned_gain=True,
            blob_sharpness=0.0,  # code: densities begin at 0 ...
            albedo_spread=1.0,  # ... and features at N(0, 1)
            prune_from=0.1,  # ours: empty voxels are skipped ...
            prune_alpha=1e-4,  # ... far below the start's .0032; code: weights of 1e-4 get no colour
            environment=True,  # "an optimizable image of size 4 x 4 environment-mapped to the spherical surface"
            environment_rate=0.002,  # code: 1e-4
        ),
        size=64,
        latent=True,  # "features in the prior's own space": latents for Stable Diffusion, colours for pixel priors
        cameras=HemisphereSampler(),  # "uniformly on a hemisphere ... radius of 1.5", "40 degrees to 70 degrees"
        shading=UNLIT,  # colours as they are
        prompting=Prompting(choice="bare", place="before", overhead_deg=30.0),  # "prepended", "above 30 degrees"
        noise=Times(low=Constant(0.01), high=Constant(0.97)),  # "Random sigma schedule"; code: us[30:-10], 12.2 to .098
        # "The language-guidance scale is set to 100". The lambdas below belong to the code's (D - x) / sigma; Eq. 16
        # has (D - x) / sigma^2, `weighting="sjc"`.
        distiller=SJC(cfg_scale=100.0, weighting="uniform"),
        penalties=Penalties(
            emptiness=Steps((0.0, 0.5), (emptiness(1e4), emptiness(2e5))),  # "lambda_1 = 1e4 and lambda_2 = 2e5"
            centre_depth=Constant(0.0),  # "for the few cases when this happens": 100 / (64 * 64) in Fig. A2
        ),
        optimizer=Adamax(rate=Constant(0.05)),
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """What `small` scales: 100 -> 64 voxels along an edge in a ball, half -> whole voxel steps, 10,000 -> 450
        steps of two opposite noise draws, cfg 100 -> 15, emptiness (see `SMALL_SAMPLES`); as the embedded prior likes
        it, the score is Eq. 16's, noise falls, colours begin grey, voxels are empty below .4 %, and cameras are its
        own, told instead of phrases. Random backdrops take the learned background's place, in which pale parts vanish.
        """
        field = cls().field
        assert isinstance(field.scene, VoxelConfig)
        return cls(
            field=replace(
                field,
                steps=450,
                draws=2,
                scene=replace(
                    field.scene,
                    resolution=64,
                    step=1.0,
                    shape="ball",
                    albedo_spread=0.0,
                    prune_alpha=0.004,
                    environment=False,
                ),
                cameras=small.CAMERAS,
                backdrops=small.BACKDROPS,
                noise=annealed(0.85, 0.5, 0.2),
                prompting=small.CAMERA,
                distiller=SJC(cfg_scale=15.0),
                penalties=replace(
                    field.penalties,
                    emptiness=Steps((0.0, 0.5), (emptiness(1e4, SMALL_SAMPLES), emptiness(8e4, SMALL_SAMPLES))),
                ),
            )
        )
