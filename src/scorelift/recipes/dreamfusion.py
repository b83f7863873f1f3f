"""`dreamfusion`: score distillation sampling into a shaded mip-NeRF, with the numbers of its authors.

Ref: Poole, Jain, Barron, Mildenhall, "DreamFusion: Text-to-3D using 2D diffusion" (2022), Section 3 and Appendix A.2.
Each line below names its sentence; what is not there has the paper's number as its class's default (`scenes/mlp.py`,
`core/camera_samplers.py`, `core/samplers.py`, `recipes/optimizers.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..core.camera_samplers import DreamFusionCameras, OrbitSampler
from ..core.samplers import BackdropSampler, DreamFusionLights, ShadingSampler
from ..core.schedules import Constant, Ramp, Steps, WarmupCosine
from ..distill.noise import Times, annealed
from ..distill.sds import SDS
from ..scenes.mlp import MLPConfig
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
        scene=MLPConfig(),  # "Mip-NeRF covariance annealing", "MLP architecture changes", "Spatial density bias"
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
        """What `small` scales: network 128 -> 64 wide and 5 -> 3 blocks, 128 -> 48 samples a ray (those in empty space
        skipped), 64 -> 32 pixels and with them 8 -> 6 frequencies, 4 -> 1 views, 15,000 -> 1,200 steps; Adam for
        Shampoo; cfg 101 -> 15; noise falls instead of being drawn from all levels; cameras and backdrops as the
        embedded prior's. It begins with thin fog instead of a blob, and empties it (docs/quick.md tells why).
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
                cameras=OrbitSampler(high_share=0.15, high_elevation_deg=(50, 75)),
                shading=ShadingSampler(albedo_until=0.4, shaded=0.75, textureless=0.2),
                backdrops=BackdropSampler(grey=(0.25, 0.75)),
                noise=annealed(0.85, 0.45, 0.2),
                distiller=SDS(cfg_scale=15.0, weighting="sigma2"),
                penalties=Penalties(
                    emptiness=Steps((0.0, 0.5), (0.002, 0.02)), orientation=Ramp(1e-4, 1e-2, until=1 / 3)
                ),
                optimizer=Adam(rate=WarmupCosine(start=1e-4, peak=3e-3, end=3e-4, warmup=0.05)),
            )
        )  # fmt: skip
