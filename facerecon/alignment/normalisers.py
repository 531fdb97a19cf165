"""Normalised landmark errors of face alignment, and the figures that its tables print.

Papers divide by different lengths, and their numbers differ by a factor of two and more for it, so that the normaliser is
always named: the distance of the outer eye corners (300-W, WFLW), the root of the landmark box's area, or its diagonal (AFLW).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.alignment.scheme import LandmarkScheme
from facerecon.checks import check_choice, check_finite, check_shape
from facerecon.errors import ArgumentError
from facerecon.metrics import area_under_ced, box_size, failure_rate, point_to_point

NORMALISERS = ("inter_ocular", "box", "diagonal")
_MEASURES = {"box": "sqrt_wh", "diagonal": "diag"}
# WFLW's tables count a face as failed above 10 % and integrate the error distribution up to there.
FAILURE_THRESHOLD = AUC_THRESHOLD = 0.10


def landmark_nme(prediction: np.ndarray, truth: np.ndarray, *, normaliser: str, scheme: LandmarkScheme,
                 valid: np.ndarray | None = None) -> np.ndarray:
    """Mean distance of the points of each face over its normalising length.

    Args:
        prediction: (..., L, 2) px; `truth`: the same shape.
        normaliser: "inter_ocular": distance of the true outer eye corners. "box": sqrt(width * height) of the box of the true
            points. "diagonal": the diagonal of that box.
        scheme: of the points.
        valid: (..., L) bool, points that count, in the mean and in the box; the others may be NaN. By default all do.

    Returns:
        (...) fractions (0.045 is what tables print as 4.5).

    Raises:
        ArgumentError: `argument_invalid` for a scheme without eye corners, a face without a valid point, with an eye corner
            that is not valid, or of no size; `shape_invalid`; `nonfinite`.
    """
    check_choice("normaliser", normaliser, NORMALISERS)
    truth = np.asarray(truth, dtype=np.float64)
    check_shape("truth", truth, ("...", len(scheme), 2))
    prediction = check_shape("prediction", np.asarray(prediction, dtype=np.float64), truth.shape)
    valid = np.ones(truth.shape[:-1], bool) if valid is None else np.asarray(valid, dtype=bool)
    check_shape("valid", valid, truth.shape[:-1])
    empty = int((~valid.any(axis=-1)).sum())
    if empty:
        raise ArgumentError(f"valid: wanted at least one point of each face, got {empty} faces with none")
    # A point that does not count takes the place of one that does: it adds no error and no extent.
    first = valid.argmax(axis=-1)[..., None, None]
    truth = check_finite("truth", np.where(valid[..., None], truth, np.take_along_axis(truth, first, axis=-2)))
    prediction = check_finite("prediction", np.where(valid[..., None], prediction, truth))
    errors = point_to_point(prediction, truth).sum(axis=-1) / valid.sum(axis=-1)
    if normaliser in _MEASURES:
        return errors / box_size(truth, measure=_MEASURES[normaliser])
    return errors / _inter_ocular(truth, valid, scheme)


def _inter_ocular(truth: np.ndarray, valid: np.ndarray, scheme: LandmarkScheme) -> np.ndarray:
    if scheme.eye_corners is None:
        raise ArgumentError(f"normaliser: scheme {scheme.name!r} has no eye corners; use 'box' or 'diagonal'")
    right, left = scheme.eye_corners
    distance = point_to_point(truth[..., right, :], truth[..., left, :])
    wrong = ~(valid[..., right] & valid[..., left]) | (distance <= 0)
    if wrong.any():
        raise ArgumentError(f"truth: wanted two outer eye corners apart from each other, got {int(wrong.sum())} of "
                            f"{wrong.size} faces without; leave them out, or use 'box' or 'diagonal'")
    return distance


@dataclasses.dataclass(frozen=True)
class LandmarkSummary:
    """Figures of one test set; all but `n` and the thresholds are fractions.

    Attributes:
        n: faces. mean, median: of their errors.
        failure_rate: share of errors above `failure_threshold`.
        auc: area under the cumulative error distribution up to `auc_threshold`, over that threshold.
    """

    n: int
    mean: float
    median: float
    failure_rate: float
    auc: float
    failure_threshold: float
    auc_threshold: float


def summarise_landmarks(errors: np.ndarray, *, failure_threshold: float = FAILURE_THRESHOLD,
                        auc_threshold: float = AUC_THRESHOLD) -> LandmarkSummary:
    """One error per face (n,), as from `landmark_nme`, to the figures of a table; infinity stands for a face without a result.

    Raises:
        ArgumentError: no errors, NaN, or a threshold that is not above 0.
    """
    errors = np.asarray(errors, dtype=np.float64).reshape(-1)
    failed, area = failure_rate(errors, failure_threshold), area_under_ced(errors, auc_threshold)
    return LandmarkSummary(len(errors), float(errors.mean()), float(np.median(errors)), failed, area, float(failure_threshold),
                           float(auc_threshold))
