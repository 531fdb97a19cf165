"""Normalised mean error of a few landmarks."""

from __future__ import annotations

import numpy as np

from facerecon.checks import check_choice, check_finite, check_shape
from facerecon.metrics.boxes import box_size
from facerecon.metrics.dense import align_depth

LANDMARK_DEPTHS = ("mean", "min", "none")


def point_to_point(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Euclidean distance of each predicted point to its true one: (..., N, D), (..., N, D) -> (..., N)."""
    difference = np.asarray(prediction, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    return np.sqrt(np.einsum("...d,...d->...", difference, difference))


def sparse_nme(prediction: np.ndarray, truth: np.ndarray, *, dimensions: int = 2, box: str = "sqrt_wh",
               depth: str = "mean", size: np.ndarray | None = None) -> np.ndarray:
    """Mean landmark distance over the size of the box of the true landmarks.

    NME = (1/N) sum_k |p_k - t_k| / L with L = sqrt(w h) of all N true points in the image plane, also for the 3D variant
    (Zhu et al., CVPR 2016; 3DDFA's benchmark). In 3D the depth of both is shifted first, since orthographic depth is defined
    up to a constant.

    Args:
        prediction: (..., N, 2 or 3) px; `truth`: the same leading axes and N. Columns beyond `dimensions` are ignored.
        dimensions: 2, or 3 with the depth in px.
        box: measure of the box, see `box_size`.
        depth: shift of the third coordinate before the 3D distance: "mean" of the points (SADRNet), "min" (2DASL), "none".
        size: (...) another denominator in px (an eye distance, say); by default the box of `truth`.

    Returns:
        (...) fractions (0.03 is what tables print as 3.0).
    """
    check_choice("dimensions", dimensions, (2, 3))
    check_choice("depth", depth, LANDMARK_DEPTHS)
    prediction = check_finite("prediction", np.asarray(prediction, dtype=np.float64))
    truth = check_finite("truth", np.asarray(truth, dtype=np.float64))
    check_shape("truth", truth, ("...", None, None))
    check_shape("prediction", prediction, ("...", truth.shape[-2], None))
    for name, points in (("prediction", prediction), ("truth", truth)):
        if points.shape[-1] < dimensions:
            check_shape(name, points, ("...", truth.shape[-2], dimensions))
    size = box_size(truth, measure=box) if size is None else np.asarray(size, dtype=np.float64)
    prediction, truth = prediction[..., :dimensions], truth[..., :dimensions]
    if dimensions == 3 and depth != "none":
        prediction, truth = align_depth(prediction, mode=depth), align_depth(truth, mode=depth)
    return point_to_point(prediction, truth).mean(axis=-1) / size
