"""Size of the bounding box of points: the denominator of normalised errors."""

from __future__ import annotations

import numpy as np

from facerecon.checks import check_choice, check_finite, check_shape
from facerecon.errors import ArgumentError

BOX_SIZES = ("sqrt_wh", "diag")


def box_size(points: np.ndarray, *, measure: str = "sqrt_wh") -> np.ndarray:
    """Size of the axis-aligned box of each point set in the image plane.

    Args:
        points: (..., N, 2 or more) px; only x and y count. All points count, hidden ones too; nothing is clipped to the image
            and no pixel is added.
        measure: "sqrt_wh" is sqrt(width * height), the choice of 3DDFA and its line; "diag" is the diagonal.

    Returns:
        (...) float64 px, larger than zero.

    Raises:
        ArgumentError: `nonfinite`, or `argument_invalid` for a box without area.
    """
    check_choice("measure", measure, BOX_SIZES)
    points = check_finite("points", np.asarray(points, dtype=np.float64))
    check_shape("points", points, ("...", None, None))
    if points.shape[-2] == 0 or points.shape[-1] < 2:
        raise ArgumentError(f"points: wanted at least one point with x and y, got shape {points.shape}", code="shape_invalid")
    # One coordinate at a time: NumPy reduces a long axis many times faster than it does rows of two.
    width, height = (points[..., axis].max(axis=-1) - points[..., axis].min(axis=-1) for axis in range(2))
    size = np.sqrt(width * height) if measure == "sqrt_wh" else np.hypot(width, height)
    if np.any(size <= 0):
        raise ArgumentError(f"points: {int(np.sum(size <= 0))} of {size.size} boxes have no area; an error cannot be normalised "
                            f"by them")
    return size
