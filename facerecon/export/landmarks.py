"""Landmark files: iBUG `.pts` and JSON.

A `.pts` file counts pixels from 1, as its first readers in Matlab do: the centre of the top-left pixel is (1, 1) there and
(0, 0) in this package. `read_pts` and `write_pts` convert; JSON is in the package's own pixels.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facerecon.checks import check_shape
from facerecon.errors import LandmarkError
from facerecon.export import arrays
from facerecon.export.source import read_bounded
from facerecon.files import write_atomic

_MOST_BYTES = 4 << 20
CONVENTION = "pixels of the upright image, origin at the centre of the top-left pixel, x right, y down"


def write_pts(path: str | os.PathLike[str], points: Any) -> Path:
    """Write landmarks (N, 2), or the first two columns of (N, 3), in pixels of this package, as an iBUG `.pts` file."""
    values = np.asarray(arrays.plain(points), np.float64)
    values = arrays.points("points", values[:, :2] if values.ndim == 2 and values.shape[1] == 3 else values, 2) + 1.0
    rows = "\n".join(f"{x:.6f} {y:.6f}" for x, y in values)
    return write_atomic(path, f"version: 1\nn_points: {len(values)}\n{{\n{rows}\n}}\n")


def read_pts(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an iBUG `.pts` file: float64 (N, 2) in pixels of this package (the file's numbers minus 1).

    Raises:
        LandmarkError: `landmarks_invalid` for another format, `landmarks_count` when `n_points` is not what is there,
            `landmarks_nonfinite`. PathError: `path_missing`, `path_not_file`.
    """
    lines = [line.strip() for line in _read_text(path).replace("{", "\n{\n").replace("}", "\n}\n").splitlines() if line.strip()]
    if "{" not in lines or "}" not in lines[lines.index("{"):] or not lines[0].lower().startswith("version"):
        raise LandmarkError(f"{path}: wanted an iBUG .pts file (version, n_points, braces), got {lines[:1]}")
    head, body = lines[:lines.index("{")], lines[lines.index("{") + 1:lines.index("}")]
    declared = [line.partition(":")[2].strip() for line in head if line.lower().startswith("n_points")]
    try:
        points = np.array([[float(word) for word in line.split()] for line in body], np.float64).reshape(len(body), 2)
    except ValueError as error:
        raise LandmarkError(f"{path}: wanted two numbers on each line between the braces; {error}") from error
    if declared and declared[0] != str(len(points)):
        raise LandmarkError(f"{path}: wanted n_points = {declared[0]} points, got {len(points)}", code="landmarks_count")
    if not np.isfinite(points).all():
        raise LandmarkError(f"{path}: wanted finite numbers, got NaN or infinite ones", code="landmarks_nonfinite")
    return points - 1.0


def write_landmarks_json(path: str | os.PathLike[str], points: Any, *, scheme: str, image_size: Sequence[int],
                         visibility: Any = None, confidence: float | None = None) -> Path:
    """Write landmarks as JSON.

    Args:
        path: goal.
        points: (N, 2) or (N, 3): x, y in pixels of the upright image, centre of the top-left pixel at (0, 0), and depth.
        scheme: such as "ibug68".
        image_size: (width, height).
        visibility: (N,) in [0, 1], or None.
        confidence: of the face, or None.
    """
    values = np.asarray(arrays.plain(points), np.float64)
    values = arrays.points("points", values, 3 if values.ndim == 2 and values.shape[1] == 3 else 2)
    record: dict[str, Any] = {
        "schema": 1, "scheme": scheme, "image_size": [int(size) for size in image_size],
        "convention": CONVENTION,
        "points": [[round(number, 6) for number in row] for row in values.tolist()],
    }
    if visibility is not None:
        seen = check_shape("visibility", np.asarray(arrays.plain(visibility), np.float64), (len(values),))
        record["visibility"] = [round(number, 6) for number in seen.tolist()]
    if confidence is not None:
        record["confidence"] = float(confidence)
    return write_atomic(path, json.dumps(record, allow_nan=False) + "\n")


def read_landmarks_json(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The inverse of `write_landmarks_json`: the record, with `points` as float64 (N, 2 or 3).

    Raises:
        LandmarkError: `landmarks_invalid`, `landmarks_nonfinite`. PathError: `path_missing`, `path_not_file`.
    """
    try:
        record = json.loads(_read_text(path))
        points = np.array(record["points"], np.float64)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise LandmarkError(f"{path}: wanted JSON with a list of points; {type(error).__name__}: {error}") from error
    if points.ndim != 2 or points.shape[1] not in (2, 3):
        raise LandmarkError(f"{path}: wanted points as N x 2 or N x 3, got {points.shape}")
    if not all(map(math.isfinite, points.ravel().tolist())):
        raise LandmarkError(f"{path}: wanted finite numbers, got NaN or infinite ones", code="landmarks_nonfinite")
    return {**record, "points": points}


def _read_text(path: str | os.PathLike[str]) -> str:
    too_large = LandmarkError(f"{path}: wanted at most {_MOST_BYTES} bytes of landmarks")
    try:
        return read_bounded(path, max_bytes=_MOST_BYTES, too_large=too_large).decode("utf-8")
    except UnicodeDecodeError as error:
        raise LandmarkError(f"{path}: wanted text, got bytes that are none") from error
