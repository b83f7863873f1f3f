"""Where the surface of a field is: the density that stops half of the light."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from ..core.camera_samplers import ring
from ..core.errors import EmptySceneError
from ..kernels.composite import weights_packed
from .fields import Field

LOWER = 0.05
"Quantile of the densities at which rays are half stopped."


@torch.no_grad()
def surface_density(
    field: Field, views: int = 10, size: int = 48, *, distance: float = 3.0, fov_deg: float | None = None
) -> float:
    """Density at which light is half stopped, seen from all around: the level of the visible surface.

    Slanting rays are stopped farther out, at lower densities, than rays that meet a soft surface head on, and thin
    parts at lower ones than thick parts: a level among the lower ones leaves no holes.

    Raises:
        EmptySceneError: if the scene is empty from everywhere.
    """
    found, device = [], next(field.parameters()).device
    for elevation in (10.0, 50.0):
        cameras = ring(views // 2, elevation, start_deg=elevation, distance=distance, fov_deg=fov_deg).to(device)
        origin, direction = cameras.rays(size, size)
        rays = direction.reshape(-1, 3)
        half = torch.full_like(rays[:, 0], 0.5)
        march = field.march(origin.repeat_interleave(size * size, 0), rays, half)
        density = march.lookup.density()
        _, transmittance = weights_packed(density, march.delta, march.ray, len(rays))
        after = transmittance * torch.exp(-density * march.delta)
        found.append(density[(transmittance > 0.5) & (after <= 0.5)])
    level = torch.cat(found)
    if len(level) < 8:
        raise empty_surface(field)
    return float(level.quantile(LOWER))


@torch.no_grad()
def empty_surface(field: Field) -> EmptySceneError:
    """The error of a scene without a surface."""
    grid = density_grid(field, 32)
    return EmptySceneError(
        f"surface: the scene is empty, nothing in it stops half of the light (densities {grid.min():.3g} to "
        f"{grid.max():.3g}; where light is half stopped is where the surface would be). "
        "Try another --seed, more --steps, or weaker emptiness and opacity penalties, in another --out. "
        "The checkpoints are kept."
    )


@torch.no_grad()
def density_grid(field: Field, resolution: int) -> Float[np.ndarray, "n n n"]:
    """Densities on a cube of points that holds the field's ball."""
    axis = torch.linspace(-field.extent, field.extent, resolution)
    points = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    device = next(field.parameters()).device
    parts = [field.density_at(part.to(device)).cpu() for part in points.split(262_144)]
    return torch.cat(parts).view((resolution,) * 3).numpy()
