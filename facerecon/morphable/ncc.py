"""Normalised coordinate code: the mean shape as a colour (seed paper 3DDFA; thesis equation 1.5)."""

from __future__ import annotations

import torch

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError


def normalised_coordinate_code(mean: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Colour every vertex with its place in the mean shape.

    NCC_d = (S_d - min S_d) / (max S_d - min S_d) for d = x, y, z, where minimum and maximum are taken over `region`. A
    head has a neck and a back that no photo shows, so the region is the part that a projected code (PNCC) draws, the face;
    vertices outside it are clamped to the range, and are not meant to be drawn.

    Args:
        mean: (V, 3) mean shape.
        region: (V,) bool, the vertices that span the range.

    Returns:
        (V, 3) in [0, 1]: red = x, green = y, blue = z. Constant in the model's parameters, so no gradients.

    Raises:
        ArgumentError: `argument_invalid` when the region has no extent along an axis.
    """
    check_shape("mean", mean, ("V", 3))
    check_shape("region", region, (mean.shape[0],))
    inside = mean[region]
    if inside.shape[0] < 2:
        raise ArgumentError(f"region: wanted at least two vertices, got {inside.shape[0]}")
    low, high = inside.min(dim=0).values, inside.max(dim=0).values
    extent = high - low
    if bool((extent <= 0).any()):
        raise ArgumentError(f"region: wanted an extent along x, y and z, got {extent.tolist()}")
    return ((mean - low) / extent).clamp(0, 1)
