"""MoFA's objective: its terms, their weights, and what a batch of photos brings."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facerecon.checks import check_range
from facerecon.errors import ArgumentError
from facerecon.mofa import losses
from facerecon.mofa.code import FaceCode

if TYPE_CHECKING:
    from facerecon.mofa.decoder import Drawn, FaceDecoder


@dataclasses.dataclass(frozen=True)
class MofaTerms:
    """Weights of the terms; a term of weight 0 is not computed. The defaults are MoFA's (Tewari et al. 2017), with landmarks.

    Attributes:
        photometric: of the mean L2 distance of colours in [0, 1] over visible pixels.
        landmarks: of the mean squared distance of the 68 landmarks, in ninths of the image's side.
        prior: of the sum of squared coefficients in standard deviations, with `prior_expression` and `prior_albedo` as the
            weights of expression and albedo relative to identity.
        skin_only: compare only pixels where the model shows skin: not eyes, not the mouth's inside.
        facing: weigh landmarks by whether the model turns them to the camera, besides what the batch says of their visibility.
        albedo_symmetry, perceptual, parameters, vertices: additions, off in MoFA and in the thesis.

    None of these weights depends on the size of crops or batches. MoFA does not say in which unit landmarks are measured; see
    `landmark_loss` for the one here. Deng et al. 2019 keep MoFA's 1.92 and 0.8, and take 3e-4 and 1.7e-2 for `prior` and
    `prior_albedo`, ten times as much: a recipe for few photos wants priors of that size rather.
    """

    photometric: float = 1.92
    landmarks: float = 1.0
    prior: float = 2.9e-5
    prior_expression: float = 0.8
    prior_albedo: float = 1.7e-3
    skin_only: bool = False
    facing: bool = True
    albedo_symmetry: float = 0.0
    perceptual: float = 0.0
    parameters: float = 0.0
    vertices: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if isinstance(field.default, float):
                check_range(field.name, getattr(self, field.name), 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class MofaTargets:
    """What is known of a batch.

    Attributes:
        images: (B, S, S, 3) RGB in [0, 1].
        points68: (B, 68, 2) crop px, NaN where unknown; None for a batch without landmarks.
        visibility68: (B, 68), weights from 0 to 1 or bool.
        weight: (B, S, S) in [0, 1], of the photo's pixels.
        truth: parameters of the faces that have them; anything for the others.
        known: (B,) bool, which faces have a truth.
    """

    images: Tensor
    points68: Tensor | None = None
    visibility68: Tensor | None = None
    weight: Tensor | None = None
    truth: FaceCode | None = None
    known: Tensor | None = None


def total_loss(code: FaceCode, drawn: Drawn, targets: MofaTargets, decoder: FaceDecoder, *, terms: MofaTerms = MofaTerms(),
               features: Callable[[Tensor], Tensor] | None = None) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms, and each term without its weight, detached, by name.

    Args:
        code: what the encoder read. drawn: `decoder(code)`.
        features: of the perceptual term, see `perceptual_loss`.

    Returns:
        (total (), {"photometric": (), "landmarks": (), ...}) with the terms that are on and that the batch has targets for.

    Raises:
        ArgumentError: when the perceptual term is on and there are no features.
    """
    layout, size = decoder.layout, decoder.image_size
    found: dict[str, Tensor] = {}
    if terms.photometric:
        mask = drawn.skin if terms.skin_only else drawn.mask
        found["photometric"] = losses.photometric_loss(drawn.image, targets.images, mask, weight=targets.weight)
    if terms.landmarks and targets.points68 is not None:
        weight = decoder.landmark_valid.to(drawn.landmarks.dtype).expand(drawn.landmarks.shape[:2])
        if targets.visibility68 is not None:
            weight = weight * targets.visibility68
        if terms.facing:
            weight = weight * facing_weight(drawn.facing)
        found["landmarks"] = losses.landmark_loss(drawn.landmarks, targets.points68, weight, image_size=size)
    if terms.prior:
        found["prior"] = losses.prior_loss(code, layout, expression=terms.prior_expression, albedo=terms.prior_albedo)
    if terms.albedo_symmetry:
        found["albedo_symmetry"] = losses.albedo_symmetry_loss(drawn.albedo, decoder.mirror)
    if terms.perceptual:
        if features is None:
            raise ArgumentError("features: the perceptual term is on and wants a network")
        found["perceptual"] = losses.perceptual_loss(features, drawn.image, targets.images, drawn.mask)
    if targets.truth is not None and terms.parameters:
        found["parameters"] = losses.parameter_loss(code, targets.truth, layout, image_size=size, known=targets.known)
    if targets.truth is not None and terms.vertices:
        with torch.no_grad():
            truth = decoder.geometry(targets.truth).projected
        found["vertices"] = losses.vertex_loss(drawn.projected, truth, image_size=size, known=targets.known,
                                               depth_scale=layout.mean_scale(size) if layout.perspective else 1.0)
    total = sum((getattr(terms, name) * value for name, value in found.items()), drawn.image.new_zeros(()))
    return total, {name: value.detach() for name, value in found.items()}


def facing_weight(facing: Tensor) -> Tensor:
    """Weight in [0, 1] of points by the cosine of their normals to the viewer: 0 below -0.1, 1 above 0.15; no gradient."""
    ramp = ((facing.detach() + 0.1) / 0.25).clamp(0, 1)
    return ramp * ramp * (3 - 2 * ramp)
