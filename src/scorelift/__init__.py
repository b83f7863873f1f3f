"""scorelift: a sentence becomes a textured 3-D asset, by distilling a frozen 2-D text-to-image diffusion model.

>>> import scorelift
>>> run = scorelift.generate("a red mushroom", out="mushroom")  # doctest: +SKIP
>>> run.path / "asset.glb"  # doctest: +SKIP
PosixPath('mushroom/asset.glb')
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .core.errors import ScoreliftError
from .version import __version__

if TYPE_CHECKING:
    from .batching.many import batch
    from .engine.generate import generate
    from .engine.outputs import export_run
    from .engine.painting import paint
    from .engine.run import Run
    from .evaluate.evidence import rank
    from .priors.registry import load_prior
    from .recipes import RECIPES, find_recipe

__all__ = [
    "RECIPES", "Run", "ScoreliftError", "__version__", "batch", "export_run", "find_recipe", "generate", "load_prior",
    "paint", "rank",
]  # fmt: skip

_HOMES = {
    "batch": "batching.many",
    "generate": "engine.generate",
    "export_run": "engine.outputs",
    "paint": "engine.painting",
    "Run": "engine.run",
    "rank": "evaluate.evidence",
    "load_prior": "priors.registry",
    "RECIPES": "recipes",
    "find_recipe": "recipes",
}


def __getattr__(name: str) -> Any:
    """Load the rest on first use, so that `import scorelift` is quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'scorelift' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """What there is, for those who let an editor complete names."""
    return __all__
