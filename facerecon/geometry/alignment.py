"""Alignment of point sets: the closed-form similarity (Procrustes, Umeyama)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from facerecon.checks import check_finite, check_shape
from facerecon.errors import ArgumentError


@dataclass(frozen=True)
class Similarity:
    """x -> scale R x + t.

    Attributes:
        scale: (...), positive.
        rotation: (..., D, D), determinant +1.
        translation: (..., D).
    """

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Move points (..., N, D)."""
        rotation, translation = self.rotation.to(points), self.translation.to(points)
        return self.scale.to(points)[..., None, None] * (points @ rotation.mT) + translation[..., None, :]

    def inverse(self) -> Similarity:
        """The similarity that undoes this one."""
        scale = 1 / self.scale
        rotation = self.rotation.mT
        return Similarity(scale, rotation, -scale[..., None] * (rotation @ self.translation[..., None]).squeeze(-1))

    def compose(self, first: Similarity) -> Similarity:
        """The similarity that applies `first`, then this one."""
        return Similarity(self.scale * first.scale, self.rotation @ first.rotation,
                          self.apply(first.translation[..., None, :]).squeeze(-2))


def procrustes(source: Tensor, target: Tensor, weights: Tensor | None = None, scale: bool = True) -> Similarity:
    """The similarity that moves `source` nearest to `target` in the weighted least-squares sense.

    Args:
        source, target: (..., N, D), D = 2 or 3, points in correspondence.
        weights: (..., N), not negative, or None for equal weights.
        scale: False keeps the scale at 1 (rigid motion).

    Returns:
        A `Similarity` in the dtype of `source`; computed in float64. Never a reflection. With points on a line the
        rotation about that line is undetermined and one is chosen. Differentiable where the solution is unique.

    Raises:
        ArgumentError: `shape_invalid`, `nonfinite`, or `argument_invalid` when fewer than two points have weight or all
            weighted source points coincide.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 1991.
    """
    check_shape("source", source, ("...", None, None))
    check_shape("target", target, ("...", *source.shape[-2:]))
    if source.shape[-1] not in (2, 3):
        raise ArgumentError(f"source: wanted points in 2 or 3 dimensions, got {source.shape[-1]}", code="shape_invalid")
    check_finite("source", source)
    check_finite("target", target)
    x, y = source.double(), target.double()
    w = torch.ones(source.shape[:-1], dtype=torch.float64, device=source.device) if weights is None else weights.double()
    check_shape("weights", w, ("...", source.shape[-2]))
    check_finite("weights", w)
    if bool((w < 0).any()) or bool(((w > 0).sum(-1) < 2).any()):
        raise ArgumentError("weights: wanted numbers >= 0 with at least two above 0, got others")
    w = (w / w.sum(-1, keepdim=True))[..., None]
    x_mean, y_mean = (w * x).sum(-2), (w * y).sum(-2)
    x_centred, y_centred = x - x_mean[..., None, :], y - y_mean[..., None, :]
    variance = (w * x_centred**2).sum((-2, -1))
    if bool((variance <= 0).any()):
        raise ArgumentError("source: wanted at least two different points, got one point repeated")
    u, singular, vh = torch.linalg.svd((w * y_centred).mT @ x_centred)
    sign = torch.ones_like(singular)
    sign[..., -1] = torch.where(torch.linalg.det(u @ vh) < 0, -1.0, 1.0).to(sign)
    rotation = u @ (sign[..., None] * vh)
    factor = (singular * sign).sum(-1) / variance if scale else torch.ones_like(variance)
    translation = y_mean - factor[..., None] * (rotation @ x_mean[..., None]).squeeze(-1)
    return Similarity(factor.to(source), rotation.to(source), translation.to(source))
