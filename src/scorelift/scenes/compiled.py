"""Voxel fields integrated by the compiled passes of `kernels`: what those are given, and what they give back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..core.errors import bad
from ..core.lights import Shading
from ..kernels import voxel_integral, voxel_unlit
from .fields import Rays, Sums

if TYPE_CHECKING:
    from .voxels import VoxelField


def unlit(field: VoxelField, rays: Rays) -> Sums:
    """Plain colours, or latents, of rays through a float32 field on the CPU."""
    kernel = voxel_unlit
    numbers = np.float32(field.delta), np.float32(field.config.density_scale), field.config.latent == 0
    paths = kernel.Paths(*_arrays(_paths(field, rays)))
    settings = kernel.Settings(*numbers)
    sums = kernel.integrate(field.raw(), field.albedo, field.occupied, paths, settings, field.spare)
    columns = (sums[:, column] for column in (kernel.OPACITY, kernel.DEPTH, kernel.FOG))
    return Sums(sums[:, : field.albedo.shape[-1]], *columns)


def lit(field: VoxelField, rays: Rays, shading: Shading) -> Sums:
    """Lit colours, or lit white, with normals.

    Raises:
        ScoreliftError: if there is no light.
    """
    if rays.light is None or rays.ambient is None:
        raise bad("lights", expected=f"lights for {shading!r} shading", got=None)
    kernel = voxel_integral
    sums = kernel.integrate(
        field.raw(), field.albedo, field.occupied,
        kernel.Paths(*_arrays((*_paths(field, rays), rays.light, rays.ambient))),
        delta=field.delta, scale=field.config.density_scale, textureless=shading == "textureless",
    )  # fmt: skip
    opacity, depth, fog = (sums[:, column] for column in (kernel.OPACITY, kernel.DEPTH, kernel.FOG))
    colour, normal, turned = sums[:, : field.albedo.shape[-1]], sums[:, kernel.NORMAL :], sums[:, kernel.TURNED]
    return Sums(colour, opacity, depth, fog, normal, turned)


def normals(field: VoxelField, rays: Rays) -> Sums:
    """Normals as colours; without gradients. A lit pass has them, whatever the light is."""
    sums = lit(field, replace(rays, light=rays.origin, ambient=torch.zeros_like(rays.jitter)), "textureless")
    assert sums.normal is not None
    return replace(sums, colour=(sums.normal + sums.opacity[:, None]) / 2)


def _paths(field: VoxelField, rays: Rays) -> tuple[Tensor, ...]:
    """Rays, and where they enter and leave the field."""
    return rays.origin, rays.direction, rays.jitter, *field.span(rays.origin, rays.direction)


def _arrays(tensors: tuple[Tensor, ...]) -> list[np.ndarray]:
    return [t.float().contiguous().numpy() for t in tensors]
