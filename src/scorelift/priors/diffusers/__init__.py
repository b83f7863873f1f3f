"""Checkpoints of the diffusers library as priors; nothing here is imported before one is asked for."""

from .prior import DiffusersPrior, load_diffusers

__all__ = ["DiffusersPrior", "load_diffusers"]
