"""Checkpoints of the diffusers library as priors; nothing here is imported before one is asked for."""

from .loading import load_diffusers
from .prior import DiffusersPrior

__all__ = ["DiffusersPrior", "load_diffusers"]
