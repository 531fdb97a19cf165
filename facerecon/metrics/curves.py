"""Cumulative error distribution, the area under it, and the failure rate."""

from __future__ import annotations

import numpy as np

from facerecon.checks import check_range
from facerecon.errors import ArgumentError


def ced_curve(errors: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share of errors at or below each threshold.

    Args:
        errors: (n,); an image without a result may be given as infinity.
        thresholds: (t,) in the unit of the errors.

    Returns:
        (t,) in [0, 1].
    """
    ordered = np.sort(_errors(errors))
    return np.searchsorted(ordered, np.asarray(thresholds, dtype=np.float64), side="right") / len(ordered)


def area_under_ced(errors: np.ndarray, threshold: float) -> float:
    """Area under the CED from 0 to the threshold, over the threshold: in [0, 1].

    The exact integral of the step function, (1/n) sum_i max(0, 1 - e_i / threshold); nothing is sampled.
    """
    _positive(threshold)
    return float(np.maximum(0.0, 1.0 - _errors(errors) / threshold).mean())


def failure_rate(errors: np.ndarray, threshold: float) -> float:
    """Share of errors above the threshold: 1 - CED(threshold)."""
    _positive(threshold)
    return float((_errors(errors) > threshold).mean())


def _errors(errors: np.ndarray) -> np.ndarray:
    errors = np.asarray(errors, dtype=np.float64).reshape(-1)
    if errors.size == 0 or np.isnan(errors).any():
        raise ArgumentError(f"errors: wanted at least one number and no NaN, got {errors.size} numbers with "
                            f"{int(np.isnan(errors).sum())} NaN")
    return errors


def _positive(threshold: float) -> None:
    if not check_range("threshold", float(threshold), 0.0) > 0:
        raise ArgumentError("threshold: wanted a number above 0, got 0")
