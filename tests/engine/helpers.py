"""Small recipes and exact priors for the engine's tests."""

import torch

from scorelift.core.camera_samplers import RingSampler
from scorelift.core.samplers import BackdropSampler, ShadingSampler
from scorelift.core.schedules import Constant
from scorelift.distill.noise import annealed
from scorelift.distill.sds import SDS
from scorelift.priors.analytic import EmpiricalPrior
from scorelift.priors.base import ViewWords
from scorelift.recipes.base import Stage
from scorelift.recipes.optimizers import Adam
from scorelift.scenes import VoxelConfig

PHRASES = tuple(f"view {i}" for i in range(12))
GREY = BackdropSampler(grey=(0.85, 0.85), tint=0.0, gradient=0.0)


def known_object_prior(pictures: torch.Tensor, name: str = "toy") -> EmpiricalPrior:
    """One picture for each of the ring's cameras, (n, 3, h, w) in [0, 1]."""
    phrases = PHRASES[: len(pictures)]
    groups = {f"{name}, {phrase}": pictures[i : i + 1] * 2 - 1 for i, phrase in enumerate(phrases)}
    prior = EmpiricalPrior({**groups, name: pictures * 2 - 1})
    prior.view_words = ViewWords(azimuths=phrases, overhead_deg=90.0)
    return prior


def ring_stage(steps: int = 200, size: int = 32, resolution: int = 32, views: int = 8, **changes) -> Stage:
    base = {
        "steps": steps,
        "scene": VoxelConfig(resolution=resolution),
        "size": size,
        "views": 1,
        "noise": annealed(0.6, 0.05, 0.05),
        "distiller": SDS(cfg_scale=1.0, weighting="x0"),
        "cameras": RingSampler(count=views),
        "shading": ShadingSampler(shaded=0.0),
        "backdrops": GREY,
        "optimizer": Adam(rate=Constant(0.1)),
    }
    return Stage(**{**base, **changes})
