"""The terms of MoFA's objective, and the additions that it may be given; each is the mean over the batch.

Colours are in [0, 1] and distances are in units that do not depend on the size of the crop, so that a weight means the same at
128 and at 224 px.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from facerecon.checks import check_choice, check_shape
from facerecon.mofa.code import FaceCode, place_numbers
from facerecon.mofa.layout import CodeLayout

# Landmark distances are measured in ninths of the image's side. MoFA weighs squared distances with 1 and does not say in which
# unit; Deng et al. 2019 keep its photometric weight and take 1.6e-3 per squared px at 224 px, and (224 / 9 px)^-2 is that.
LANDMARKS_PER_SIDE = 9.0
# Landmarks farther than this, in image sides, pull no harder.
_FARTHEST = 10.0
# Rounds the tip of the root, so that a residual of zero has a gradient: a thousandth of the range of colours.
_ROOT = 1e-3


def photometric_loss(image: Tensor, target: Tensor, mask: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Robust photometric term: the L2 distance of colours, summed by its first power (L2,1), mean over the visible pixels.

    Args:
        image: (B, H, W, 3), drawn.
        target: (B, H, W, 3), the photo, RGB in [0, 1].
        mask: (B, H, W) bool, the model's visible pixels (or those of its skin).
        weight: (B, H, W) in [0, 1], of photo pixels: 0 where something covers the face.

    Returns:
        (), in [0, sqrt 3] for colours in [0, 1]: sqrt(|difference|^2 + 1e-6) - 1e-3. An image without visible pixels gives 0.
        Differentiable in the images and the weight. Source: Tewari et al. 2017, E_photo.
    """
    check_shape("image", image, (None, None, None, 3))
    check_shape("target", target, tuple(image.shape))
    check_shape("mask", mask, tuple(image.shape[:3]))
    share = mask.to(image.dtype)
    if weight is not None:
        share = share * check_shape("weight", weight, tuple(mask.shape))
    # `where` before the root: what a photo holds outside the mask, NaN too, has no part in the gradient.
    difference = torch.where((share > 0)[..., None], image - target, torch.zeros_like(image))
    distance = (difference.square().sum(-1) + _ROOT**2).sqrt() - _ROOT
    return ((distance * share).sum((1, 2)) / share.sum((1, 2)).clamp_min(1.0)).mean()


def landmark_loss(points: Tensor, targets: Tensor, visibility: Tensor | None = None, *, image_size: int) -> Tensor:
    """Mean squared distance of landmarks, in ninths of the image's side.

    Args:
        points: (B, N, 2) crop px, of the model.
        targets: (B, N, 2) crop px; rows with NaN are points that nobody knows, and are left out.
        visibility: (B, N), weights from 0 to 1 or bool; None for 1.
        image_size: side of the crop, px.

    Returns:
        (). The mean is over the points that count, then over the images that have any.
    """
    check_shape("points", points, (None, None, 2))
    check_shape("targets", targets, tuple(points.shape))
    known = targets.isfinite().all(-1)
    weight = known.to(points.dtype)
    if visibility is not None:
        weight = weight * check_shape("visibility", visibility, tuple(known.shape)).to(points.dtype)
    away = torch.where(known[..., None], points - targets.to(points.dtype), torch.zeros_like(points)) / image_size
    squared = (away.clamp(-_FARTHEST, _FARTHEST) * LANDMARKS_PER_SIDE).square().sum(-1)
    total = weight.sum(1)
    means = (squared * weight).sum(1) / total.clamp_min(1e-6)
    return means.sum() / (total > 0).sum().clamp_min(1)


def prior_loss(code: FaceCode, layout: CodeLayout, *, expression: float = 0.8, albedo: float = 1.7e-3) -> Tensor:
    """Statistical prior: sum of squared coefficients in standard deviations, identity + expression + albedo with their weights.

    Bounded expressions have a quarter of their range as standard deviation. Source: Tewari et al. 2017, E_reg.
    """
    sums = [part.square().sum(1) for part in (code.identity, code.expression / layout.expression_unit, code.albedo)]
    return (sums[0] + expression * sums[1] + albedo * sums[2]).mean()


def albedo_symmetry_loss(albedo: Tensor, mirror: Tensor) -> Tensor:
    """Mean squared difference between the albedo of a vertex and of its mirror image.

    Args:
        albedo: (B, n, 3) RGB.
        mirror: (n,) int64, each vertex's partner; itself where it has none.

    The open model's albedo is symmetric by construction, so there this is 0; Basel models gain by it.
    """
    check_shape("albedo", albedo, (None, mirror.shape[0], 3))
    return (albedo - albedo[:, mirror]).square().sum(-1).mean()


def parameter_loss(code: FaceCode, truth: FaceCode, layout: CodeLayout, *, image_size: int, known: Tensor | None = None,
                   weights: Mapping[str, float] | None = None) -> Tensor:
    """Squared differences to known parameters, in the units of the code's table.

    Args:
        code, truth: of crops of `image_size` px.
        known: (B,) bool, which faces have a truth; None for all.
        weights: part name -> weight; a part that is not named has weight 1. The names are those of `layout.slices`.

    Returns:
        (): per part the mean over its numbers (of the rotation the squared Frobenius distance), summed over the parts, mean
        over the known faces. Place and size are the anchor's, so that they do not change when the head turns. The parameter
        distance cost of 3DDFA in standardised units.
    """
    if known is not None:
        # Taken out before any arithmetic: numbers that stand for no truth may be anything.
        code, truth = code[known], truth[known]
    differences = {
        "identity": code.identity - truth.identity,
        "expression": (code.expression - truth.expression) / layout.expression_unit,
        "albedo": code.albedo - truth.albedo,
        "rotation": (code.rotation - truth.rotation).flatten(1) * 3,
        "illumination": (code.illumination - truth.illumination).flatten(1),
    }
    place = place_numbers(code, layout, image_size=image_size) - place_numbers(truth, layout, image_size=image_size)
    differences["translation"] = place if layout.perspective else place[:, :2]
    differences["scale"] = place[:, :0] if layout.perspective else place[:, 2:]
    weights = weights or {}
    for name in weights:
        check_choice("weights", name, differences)
    per_face = sum(weights.get(name, 1.0) * part.square().mean(1) for name, part in differences.items() if part.shape[1])
    return per_face.sum() / max(len(code), 1)


def vertex_loss(projected: Tensor, truth: Tensor, *, image_size: int, known: Tensor | None = None,
                depth_scale: float = 1.0) -> Tensor:
    """Mean squared distance of posed vertices in ninths of the image's side, each face's mean difference of depth taken out.

    Args:
        projected, truth: (B, n, 3), x and y in crop px and depth.
        known: (B,) bool, which faces have a truth; None for all.
        depth_scale: px per unit of depth; 1 under a scaled orthographic camera, whose depth is in px and has no zero.

    The vertex distance cost of 3DDFA.
    """
    check_shape("projected", projected, (None, None, 3))
    check_shape("truth", truth, tuple(projected.shape))
    if known is not None:
        projected, truth = projected[known], truth[known]
    away = (projected - truth) * (LANDMARKS_PER_SIDE / image_size)
    depth = (away[..., 2] - away[..., 2].mean(1, keepdim=True)) * depth_scale
    return (away[..., :2].square().sum(-1) + depth.square()).mean(1).sum() / max(len(projected), 1)


def perceptual_loss(features: Callable[[Tensor], Tensor], image: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """1 minus the cosine between features (B, D) of the photo and of the photo with the render laid over it.

    Args:
        features: (B, 3, H, W) RGB in [0, 1] to (B, D); a face recognition network, its weights frozen.
        image, target: (B, H, W, 3). mask: (B, H, W) bool.
    """
    laid = torch.where(mask[..., None], image, target).permute(0, 3, 1, 2)
    with torch.no_grad():
        wanted = features(target.permute(0, 3, 1, 2))
    return (1 - torch.nn.functional.cosine_similarity(features(laid), wanted, dim=1)).mean()

