"""The photometric term of analysis by synthesis (MoFA, Tewari et al., ICCV 2017, section 5; thesis section 1.5.3).

    E = w E_photo + E_landmark + E_prior

E_landmark and the priors on shape are those of `gauss_newton`, the priors on light those of `illumination`. Plain torch,
differentiable, with finite gradients at zero residual, in any dtype.
"""

from __future__ import annotations

import torch
from torch import Tensor

# RGB distance below which the L2,1 norm turns quadratic, so that its gradient exists at zero.
PHOTO_EPSILON = 0.01
# RGB distance at which a pixel's pull has fallen to a quarter.
PHOTO_SATURATION = 0.25


def photometric_term(rendered: Tensor, photo: Tensor, weight: Tensor, *, epsilon: float = PHOTO_EPSILON,
                     saturation: float = PHOTO_SATURATION) -> Tensor:
    """Robust L2,1 colour distance: the weighted mean over pixels of d / (1 + d / t), d the Euclidean RGB distance.

    Args:
        rendered, photo: (..., 3) RGB in [0, 1].
        weight: (...) >= 0, not all zero.
        epsilon: d is sqrt(r'r + epsilon^2) - epsilon.
        saturation: t; infinity gives MoFA's plain L2,1 norm. What the model cannot draw (hair, glasses, a hand) differs by
            more than t and hardly pulls.
    """
    distance = (((rendered - photo) ** 2).sum(-1) + epsilon**2).sqrt() - epsilon
    return (weight * distance / (1.0 + distance / saturation)).sum() / weight.sum()


def photometric_irls_weight(rendered: Tensor, photo: Tensor, *, epsilon: float = PHOTO_EPSILON,
                            saturation: float = PHOTO_SATURATION) -> Tensor:
    """(...) weights v with which sum v |r|^2 touches `photometric_term` from above at the present residual (IRLS)."""
    root = (((rendered - photo) ** 2).sum(-1) + epsilon**2).sqrt()
    return 0.5 / (root * (1.0 + (root - epsilon) / saturation) ** 2)
