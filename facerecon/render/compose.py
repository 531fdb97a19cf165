"""Laying a render over a photo."""

from __future__ import annotations

import torch
from torch import Tensor

from facerecon.checks import check_range, check_shape
from facerecon.errors import ArgumentError


def compose_over(image: Tensor, render: Tensor, mask: Tensor, *, opacity: float = 1.0) -> Tensor:
    """Put a render over an image where the mask holds.

    Args:
        image: (..., H, W, 3), float in [0, 1].
        render: (..., H, W, 3), float; leading axes broadcast.
        mask: (..., H, W), bool or float in [0, 1].
        opacity: of the render, 0 to 1.

    Returns:
        (..., H, W, 3). Differentiable in image, render and a float mask. Not clamped.
    """
    height, width = image.shape[-3:-1] if image.ndim >= 3 else (None, None)
    check_shape("image", image, ("...", height, width, 3))
    check_shape("render", render, ("...", height, width, 3))
    check_shape("mask", mask, ("...", height, width))
    check_range("opacity", opacity, 0, 1)
    weight = (mask.to(render.dtype) * opacity)[..., None]
    # `where` keeps a NaN or huge value outside the mask out of the picture; a product with 0 would not.
    return image + weight * (torch.where(weight > 0, render, image) - image)


def antialias(image: Tensor, mask: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Shrink a render drawn `factor` times too large (with `camera.scaled_image(factor)`), for smooth outlines.

    Args:
        image: (B, H * factor, W * factor, C), 0 where the mask is False.
        mask: (B, H * factor, W * factor) bool.
        factor: whole number, 2 or 3 as a rule.

    Returns:
        image (B, H, W, C), the mean over the covered part of each pixel, and mask (B, H, W), the covered share in [0, 1].
    """
    check_shape("image", image, (None, None, None, None))
    check_shape("mask", mask, tuple(image.shape[:3]))
    check_range("factor", factor, 1)
    if image.shape[1] % factor or image.shape[2] % factor:
        raise ArgumentError(f"image: wanted a height and width that {factor} divides, got {tuple(image.shape[1:3])}",
                            code="shape_invalid")
    covered = torch.nn.functional.avg_pool2d(mask.to(image.dtype)[:, None], factor)
    colours = torch.nn.functional.avg_pool2d(image.permute(0, 3, 1, 2), factor) / covered.clamp_min(1e-6)
    return colours.permute(0, 2, 3, 1), covered[:, 0]
