"""Losses of the autoencoder and of the adapted network.

Source of the autoencoder's terms: Browatzki and Wallraven, 3FabRec, section 3.2, equations 1 to 4; of the heatmap loss: the
same, equation 5, and Dornier's thesis, section 3.3.2 (mean squared error); of the PNCC loss: the thesis, section 4.2.2.1 (L1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as functional
from torch import Tensor

from facerecon.checks import check_shape
from facerecon.errors import ArgumentError

# (K L)^2 of SSIM with K = 0.03, for images of range 1: steadies the ratio where both windows are flat.
STABILITY = 0.03**2


def reconstruction_loss(images: Tensor, target: Tensor) -> Tensor:
    """L_rec: mean absolute difference of (B, C, H, W) images; a scalar, differentiable in both."""
    check_shape("target", target, images.shape)
    return (images - target).abs().mean()


def structural_similarity(images: Tensor, target: Tensor, *, window: int = 7, stride: int = 1,
                          stability: float = STABILITY) -> Tensor:
    """Contrast times correlation of every window of two images (equations 1 and 2).

    c(a, b) s(a, b) with c = (2 s_a s_b + k) / (s_a^2 + s_b^2 + k) and s = (s_ab + k / 2) / (s_a s_b + k / 2) is, since the
    factors share 2 s_a s_b + k, (2 s_ab + k) / (s_a^2 + s_b^2 + k): no square root, so the gradient is finite in flat windows.

    Args:
        images, target: (B, C, H, W), range 1.
        window: side of the square window in px, at most H and W.
        stride: step between windows in px; 1 takes every window, more is cheaper (the whole loss is a third of a training
            step on a CPU at 1 and little at 3).

    Returns:
        (B, C, (H - window) // stride + 1, (W - window) // stride + 1) in [-1, 1]; 1 where the windows agree up to their mean.
    """
    check_shape("target", target, images.shape)
    if not 1 < window <= min(images.shape[-2:]):
        raise ArgumentError(f"window: wanted 2 to {min(images.shape[-2:])} px, got {window}")
    # One pooling of five stacked maps; means are taken off first so that the variance does not cancel in low precision.
    centre = target.mean((2, 3), keepdim=True)
    a, b = images - centre, target - centre
    moments = functional.avg_pool2d(torch.cat((a, b, a * a, b * b, a * b), dim=1), window, stride=stride)
    mean_a, mean_b, square_a, square_b, product = moments.chunk(5, dim=1)
    variances = (square_a - mean_a * mean_a) + (square_b - mean_b * mean_b)
    return (2 * (product - mean_a * mean_b) + stability) / (variances.clamp_min(0) + stability)


def structural_loss(images: Tensor, target: Tensor, *, window: int = 7, stride: int = 1) -> Tensor:
    """L_cs as a quantity to minimise: one minus the mean structural similarity (equation 3), in [0, 2]."""
    return 1 - structural_similarity(images, target, window=window, stride=stride).mean()


def real_loss(logits: Tensor) -> Tensor:
    """Binary cross entropy of logits (B,) that should say "real"; also what a generator wants of a discriminator."""
    return functional.softplus(-logits).mean()


def fake_loss(logits: Tensor) -> Tensor:
    """Binary cross entropy of logits (B,) that should say "fake"."""
    return functional.softplus(logits).mean()


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises: the mean of the cross entropies of real and of fake logits (the max of equation 4)."""
    return 0.5 * (real_loss(real) + fake_loss(fake))


def squared_loss(maps: Tensor, target: Tensor, *, weight: Tensor | None = None, emphasis: float = 0.0) -> Tensor:
    """Mean squared error of maps (B, C, H, W), over the maps that `weight` (B, C) counts; zero when it counts none.

    The heatmap loss of GMDA (mean squared error), SCAF and 3FabRec (squared L2 distance up to the same factor). A landmark
    without a true position gets weight 0 and any finite target.

    Args:
        emphasis: each pixel weighs 1 + emphasis x target; 0 is the papers' loss. A heatmap is empty but for half a percent of
            its pixels, so plain training first learns empty maps and then rests there for hundreds of steps.
    """
    difference = _difference(maps, target)
    if emphasis:
        difference = difference * (1 + emphasis * target).sqrt()
    return _weighted(torch.linalg.vector_norm(difference, dim=(2, 3)).square(), maps, weight)


def absolute_loss(maps: Tensor, target: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Mean absolute error of maps (B, C, H, W), weighted like `squared_loss`: the PNCC loss."""
    return _weighted(torch.linalg.vector_norm(_difference(maps, target), ord=1, dim=(2, 3)), maps, weight)


def _difference(maps: Tensor, target: Tensor) -> Tensor:
    check_shape("target", target, maps.shape)
    return maps - target


def _weighted(sums: Tensor, maps: Tensor, weight: Tensor | None) -> Tensor:
    # Sums of whole maps, (B, C): a norm reads the difference once, where squaring, averaging and their derivatives write five
    # more arrays of its size; for 68 maps a third of a training step on a CPU.
    means = sums / (maps.shape[2] * maps.shape[3])
    if weight is None:
        return means.mean()
    check_shape("weight", weight, means.shape)
    return (means * weight).sum() / weight.sum().clamp_min(1)
