"""`dreamfusion`: score distillation sampling into a shaded mip-NeRF, with the numbers of its authors.

Ref: Poole, Jain, Barron, Mildenhall, "DreamFusion: Text-to-3D using 2D diffusion" (2022), Section 3 and Appendix A.2.
Each line below names its sentence; what is not there has the paper's number as its class's default (`scenes/mlp.py`,
`core/camera_samplers.py`, `core/samplers.py`, `recipes/optimizers.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.camera_samplers import DreamFusionCameras
from ..core.samplers import DreamFusionLights, ShadingSampler
from ..core.schedules import Constant, Ramp, Steps, WarmupCosine
from ..distill.noise import Times, annealed
from ..distill.sds import SDS
from ..scenes.mlp import MLPConfig
from . import small
from .base import Penalties, Prompting, Recipe, Stage
from .optimizers import Adam, Shampoo


@dataclass(frozen=True, kw_only=True)
class DreamFusion(Recipe):
    """One stage of 15,000 steps."""

    name: ClassVar[str] = "dreamfusion"
    summary: ClassVar[str] = "SDS into a shaded network field, as its paper describes it (made for a GPU: 15,000 steps)"
    presets: ClassVar[dict[str, str]] = {
        "small": "scaled down for two CPU cores: smaller network and renders, fewer steps, Adam"
    }

    field: Stage = Stage(
        steps=15_000,  # "We optimize for 15,000 iterations"
        # "Mip-NeRF covariance annealing", "MLP architecture changes", "Spatial density bias"; the orientation loss is
        # said without an exception, so that unlit renders have normals too
        scene=MLPConfig(oriented=True),
        size=64,  # "we render the shaded NeRF model at 64 x 64 resolution"
        views=4,  # "4 chips. Each chip renders a separate view", batch 1 each
        slices=4,  # ours, for one chip: one view after the other,
        bands=16,  # and 256 rays at once; all of them take 100 GiB
        cameras=DreamFusionCameras(),  # Section 3.2 (1), "Additional camera and light sampling details"
        lights=DreamFusionLights(),  # the same; "l_a = [.1, .1, .1] and l_rho = [.9, .9, .9]"
        shading=ShadingSampler(albedo_until=1000 / 15000, shaded=0.75, textureless=0.5),  # "Shading hyperparameters"
        prompting=Prompting(choice="nearest"),  # "the text embedding closest to the sampled azimuth worked well"
        noise=Times(low=Constant(0.02), high=Constant(0.98)),  # "t ~ U(.02, .98)"
        distiller=SDS(cfg_scale=101.0, weighting="sigma2"),  # "omega = 100", "w(t) = sigma_t^2"
        penalties=Penalties(
            opacity=Constant(1e-3),  # "reasonable weights to lie in [1e-3, 5e-3]"
            orientation=Ramp(1e-4, 1e-2, until=5000 / 15000),  # "annealed in starting from 1e-4 over the first 5k"
        ),
        optimizer=Shampoo(),  # "Optimizer"
    )

    @classmethod
    def _preset(cls, name: str) -> Recipe:
        """All that `small` changes (the full recipe's in brackets).

        - 1,200 steps (15,000) of one view (4) of 32 x 32 pixels (64 x 64), taken whole.
        - Network: 3 blocks of 64 (5 of 128), 6 frequencies (8), covariance down to .02 (.002), 48 samples a ray (64 and
          64 more), those in empty cells of 32^3 skipped; normals from differences over .03 (the gradient), and none in
          unlit renders.
        - Scene: a ball of radius 1 (1.4) that begins as thin fog (docs/quick.md tells why), raw density -1.2 (0) and a
          blob of .3 (5); plain tinted backdrops of .25 to .75 for the network of the ray's direction.
        - Cameras and lights of the embedded prior's pictures (Section 3.2's): elevation -10 to 50 degrees, 15 % from 50
          to 75, distance 2 to 4.2, the object filling .68 to .98 of the picture; ambient light .4 to .8 (.1).
        - The camera itself is told instead of the nearest phrase.
        - Light after 40 % of the steps (7 %), a fifth of it without colour (half).
        - Noise falls from t in [.75, .95] to [.35, .55] ([.02, .98] throughout); cfg 15 (101).
        - Emptiness .002, from the middle on .02 (0), for opacity's .001.
        - Adam, 1e-4 to 3e-3 in 5 % of the steps, then down to 3e-4 (Shampoo, 1e-9, 1e-4, 1e-6).
        """
        return cls(
            field=Stage(
                steps=1200,
                scene=MLPConfig(
                    width=64, blocks=3, coarse_samples=48, fine_samples=0, occupancy=32, normals="differences",
                    difference=0.03, environment=False, extent=1.0, density_bias=-1.2, blob=0.3, frequencies=6,
                    spread=Ramp(5e-2, 2e-2, until=1 / 3),
                ),
                size=32,
                views=1,
                cameras=small.CAMERAS,
                prompting=small.CAMERA,
                shading=ShadingSampler(albedo_until=0.4, shaded=0.75, textureless=0.2),
                backdrops=small.BACKDROPS,
                noise=annealed(0.85, 0.45, 0.2),
                distiller=SDS(cfg_scale=15.0, weighting="sigma2"),
                penalties=Penalties(
                    emptiness=Steps((0.0, 0.5), (0.002, 0.02)), orientation=Ramp(1e-4, 1e-2, until=1 / 3)
                ),
                optimizer=Adam(rate=WarmupCosine(start=1e-4, peak=3e-3, end=3e-4, warmup=0.05)),
            )
        )  # fmt: skip
