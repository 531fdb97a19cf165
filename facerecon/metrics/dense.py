"""Normalised mean error of dense meshes in correspondence."""

from __future__ import annotations

import numpy as np

from facerecon.checks import check_choice, check_shape

DEPTH_MODES = ("mean", "min", "none")


def align_depth(points: np.ndarray, *, mode: str, reference: np.ndarray | None = None) -> np.ndarray:
    """Shift the depth of each point set by one number; x, y and the scale of z stay.

    Args:
        points: (..., N, 3).
        mode: "mean" puts the mean depth of the reference points to zero, "min" the smallest, "none" changes nothing.
        reference: (..., M, 3) the points that decide the shift; by default `points` themselves.

    Returns:
        (..., N, 3), a copy unless the mode is "none".
    """
    check_choice("mode", mode, DEPTH_MODES)
    if mode == "none":
        return points
    depth = (points if reference is None else reference)[..., 2]
    shift = depth.mean(axis=-1) if mode == "mean" else depth.min(axis=-1)
    shifted = np.array(points, dtype=np.float64)
    shifted[..., 2] -= shift[..., None]
    return shifted


def dense_nme(prediction: np.ndarray, truth: np.ndarray, *, size: np.ndarray | float, dimensions: int = 2,
              depth: str = "mean", prediction_reference: np.ndarray | None = None,
              truth_reference: np.ndarray | None = None) -> np.ndarray:
    """Mean vertex distance over a box size: index to index, visible and hidden vertices alike.

    Dense 2D (PRNet, ECCV 2018) compares image positions; dense 3D adds the depth after one shift per image, which prediction
    and truth get separately.

    Args:
        prediction: (..., N, 3) px, px, depth px; `truth`: same shape.
        size: (...) px, see `box_size`; the 2D box in both variants.
        dimensions: 2 or 3.
        depth: "mean" (SADRNet), "min" (2DASL) or "none".
        prediction_reference: points whose depth decides the shift of the prediction (the 68 landmarks, or all vertices when
            the region is a part of them); by default the prediction itself. Likewise `truth_reference`.

    Returns:
        (...) fractions.
    """
    check_choice("dimensions", dimensions, (2, 3))
    check_choice("depth", depth, DEPTH_MODES)
    check_shape("truth", truth, ("...", None, 3))
    check_shape("prediction", prediction, tuple(truth.shape))
    difference = np.asarray(prediction, dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    squared = difference[..., 0] ** 2 + difference[..., 1] ** 2
    if dimensions == 3:
        # Only the difference of the two shifts matters, so neither point set is copied.
        shift = (_depth(prediction_reference if prediction_reference is not None else prediction, depth)
                 - _depth(truth_reference if truth_reference is not None else truth, depth))
        squared += (difference[..., 2] - shift[..., None]) ** 2
    return np.sqrt(squared).mean(axis=-1) / size


def _depth(points: np.ndarray, mode: str) -> np.ndarray:
    z = np.asarray(points[..., 2], dtype=np.float64)
    if mode == "none":
        return np.zeros(z.shape[:-1])
    return z.mean(axis=-1) if mode == "mean" else z.min(axis=-1)
