"""Re-runs of the papers' figures and tables in the closed world: each a function, each a command."""

from __future__ import annotations

from . import dreamflow, dreamfusion, flat, sjc
from .bench import Bench, Findings, Scale, Study
from .views import view_phrases

KINDS = (
    "a yellow duck", "a red car", "a brown bear", "a white rabbit", "a grey elephant", "a green frog", "a blue chair",
    "an orange cat", "a red mushroom", "a pink pig", "a blue mug", "a green train",
)  # fmt: skip

STUDIES: dict[str, dict[str, Study]] = {
    "dreamfusion": {
        "figure2": Study(
            dreamfusion.figure2,
            "ancestral sampling against SDS on free and on mirrored pixels",
            full=Scale(prompts=KINDS, seeds=(0, 1), steps=600),
            fast=Scale(prompts=KINDS[:4], seeds=(0,), steps=300),
        ),
        "table1": Study(
            dreamfusion.table1,
            "R-Precision of SDS and of the CLIP-similarity baseline, beside the world's own pictures",
            full=Scale(prompts=KINDS, seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:4], seeds=(0,), steps=400),
        ),
        "figure6": Study(
            dreamfusion.figure6,
            "base, + ViewAug, + ViewDep, + Lighting, + Textureless",
            full=Scale(prompts=KINDS, seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:3], seeds=(0,), steps=400),
        ),
        "figure9": Study(
            dreamfusion.figure9,
            "guidance weight against seed",
            full=Scale(prompts=KINDS[:2], seeds=(0, 1, 2, 3)),
            fast=Scale(prompts=KINDS[:1], seeds=(0, 1), steps=400),
        ),
        "views": Study(
            view_phrases,
            "the Janus score by how the view is said, with the default recipe",
            full=Scale(prompts=KINDS[:8], seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:5], seeds=(0,)),
        ),
    },
    "dreamflow": {
        "figure6": Study(
            flat.figure6,
            "gradients of SDS, VSD and APFO on flat pictures, and the pictures",
            full=Scale(prompts=KINDS[:4], seeds=(0, 1), steps=600),
            fast=Scale(prompts=(KINDS[0], KINDS[8]), seeds=(0,), steps=300),
        ),
        "figure14": Study(
            flat.figure14,
            "APFO in 100 and 200 steps against VSD in 500: random, linear and DreamTime's noise",
            full=Scale(prompts=KINDS[:4], seeds=(0, 1), steps=500),
            fast=Scale(prompts=(KINDS[0], KINDS[8]), seeds=(0,), steps=500),
        ),
        "table2": Study(
            dreamflow.table2,
            "the field stage by SDS, VSD and APFO: retrieval and distance to the truth against seconds",
            full=Scale(prompts=KINDS, seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:6], seeds=(0,)),
        ),
        "seconds": Study(
            dreamflow.equal_seconds,
            "the same in about equal seconds: half of the steps where a twin is learned",
            full=Scale(prompts=KINDS, seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:6], seeds=(0,)),
        ),
        "table3": Study(
            dreamflow.table3,
            "the meshes of Magic3D, ProlificDreamer and DreamFlow: retrieval and distance to the truth",
            full=Scale(prompts=KINDS, seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:6], seeds=(0,)),
        ),
        "figure5": Study(
            dreamflow.figure5,
            "field, mesh and refined mesh (also Figure 13)",
            full=Scale(prompts=KINDS, seeds=(0, 1)),
            fast=Scale(prompts=(KINDS[0], KINDS[1]), seeds=(0,)),
        ),
    },
    "sjc": {
        "figure2": Study(
            sjc.figure2,
            "the denoiser on a blob, without and with noise",
            full=Scale(prompts=("",), seeds=tuple(range(16))),
            fast=Scale(prompts=("",), seeds=(0, 1, 2, 3)),
        ),
        "figure4": Study(
            sjc.figure4,
            "annealed against random noise on pixels, without prompt and at two guidance scales",
            full=Scale(prompts=KINDS[:6], seeds=(0, 1), steps=600),
            fast=Scale(prompts=KINDS[:3], seeds=(0,), steps=300),
        ),
        "figure6": Study(
            sjc.figure6,
            "beside the dreamfusion recipe",
            full=Scale(prompts=KINDS, seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:3], seeds=(0,), steps=600),
        ),
        "figure7": Study(
            sjc.figure7,
            "the emptiness loss: none, weak, strong, scheduled",
            full=Scale(prompts=KINDS[:6], seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:3], seeds=(0,), steps=600),
        ),
        "figureA2": Study(
            sjc.figure_a2,
            "the centre-depth loss off and on",
            full=Scale(prompts=KINDS[:6], seeds=(0, 1)),
            fast=Scale(prompts=KINDS[:3], seeds=(0,), steps=600),
        ),
    },
}

__all__ = ["KINDS", "STUDIES", "Bench", "Findings", "Scale", "Study"]
