"""Paint eyebrows where people have them.

The place comes from photos: MediaPipe's upper and lower brow rows on 177 neutral, frontal faces (yaw and pitch within 8
degrees) of permissively licensed photos, medians, in units of the distance between the irises, from their midpoint. The
texture of the hairs comes from the MakeHuman eyebrow pictures, straightened and laid along that curve.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from open_model.uvmaps import look_up

# (|x|, y) in iris distances, from the inner end outwards.
UPPER = np.array([[0.243, 0.301], [0.466, 0.330], [0.658, 0.336], [0.799, 0.290], [0.885, 0.206]])
LOWER = np.array([[0.213, 0.175], [0.449, 0.250], [0.624, 0.259], [0.750, 0.232], [0.836, 0.163]])
STYLES = ("001", "002", "003", "004", "005", "008", "010", "011", "012")
# Straightened pictures: length along the brow x height; the height spans this many millimetres.
_LENGTH, _HEIGHT, SPAN_MM = 240, 96, 20.0
_BROW_MM = 47.0


def read_brows(folder: Path) -> dict[str, np.ndarray]:
    """Straightened opacity pictures (96, 240) in [0,1], inner end left, up is up; by style."""
    brows = {}
    for style in STYLES:
        alpha = cv2.imread(str(folder / f"eyebrow{style}.png"), cv2.IMREAD_UNCHANGED)[..., 3].astype(np.float32) / 255.0
        brows[style] = _straighten(alpha)
    return brows


def brow_opacity(picture: np.ndarray, points: np.ndarray, middle: np.ndarray, iris_distance: float, *,
                 thickness: float = 1.0, lift: float = 0.0) -> np.ndarray:
    """Opacity (...,) of brow hair at points (..., 3) of the mean face.

    Args:
        picture: a straightened picture.
        points: model space, mm; both brows are painted.
        middle: (3,) midpoint of the irises.
        iris_distance: mm.
        thickness: factor on the height of the brow.
        lift: mm upwards.
    """
    x = np.abs(points[..., 0] - middle[0]) / iris_distance
    y = (points[..., 1] - middle[1] - lift) / iris_distance
    # Arc position: the pictures' ends reach a little beyond the detector's outermost points.
    grid = np.linspace(0.15, 1.0, 200)
    upper = _extended(UPPER, grid)
    lower = _extended(LOWER, grid)
    centre = (upper + lower) / 2
    length = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(grid), np.diff(centre)))])
    start, end = np.interp([0.205, 0.925], grid, length)
    along = (np.interp(x, grid, length) - start) / (end - start)
    slope = np.interp(x, grid, np.gradient(centre, grid))
    above = (y - np.interp(x, grid, centre)) * iris_distance / np.sqrt(1 + slope ** 2) / thickness
    column = along * (_LENGTH - 1)
    row = (_HEIGHT - 1) / 2 - above / SPAN_MM * _HEIGHT
    front = points[..., 2] > middle[2] - 35
    return look_up(picture, column, row, border=cv2.BORDER_CONSTANT) * front


def mean_brow(brows: dict[str, np.ndarray]) -> np.ndarray:
    """A soft average of the natural styles, for vertices two millimetres apart; its densest place has opacity one."""
    natural = [brows[style] for style in ("001", "002", "004", "005", "008", "010", "012")]
    soft = cv2.GaussianBlur(np.mean(natural, axis=0), (0, 0), 3.0)
    return soft / soft.max()


def _extended(rows: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Cubic through the detector's points, continued in a straight line on both sides."""
    fit = np.polynomial.Polynomial.fit(rows[:, 0], rows[:, 1], 3)
    low, high = rows[0, 0], rows[-1, 0]
    slope = fit.deriv()
    value = fit(np.clip(grid, low, high))
    # Inwards the brow runs level; outwards the tail goes on downwards.
    value = value + np.where(grid < low, (grid - low) * 0.5 * slope(low), 0)
    return value + np.where(grid > high, (grid - high) * slope(high), 0)


def _straighten(alpha: np.ndarray) -> np.ndarray:
    """Both brows of a picture, inner end left, their arch removed, averaged."""
    rows = np.flatnonzero(alpha.sum(axis=1) > 1)
    # The two brows are apart: split at the emptiest row of the middle half.
    low, high = rows.min(), rows.max()
    inner = np.arange(low + (high - low) // 4, high - (high - low) // 4)
    split = inner[alpha[inner].sum(axis=1).argmin()]
    top, bottom = alpha[:split].copy(), alpha[split:, ::-1].copy()
    straight = []
    for brow in (top, bottom):
        columns = np.flatnonzero(brow.sum(axis=0) > 1.5)
        first, last = columns.min(), columns.max()
        brow = brow[:, first:last + 1]
        height = np.arange(len(brow))
        weight = brow.sum(axis=0) + 1e-6
        centre = (brow * height[:, None]).sum(axis=0) / weight
        place = np.arange(brow.shape[1])
        arch = np.polynomial.Polynomial.fit(place, centre, 4, w=np.sqrt(weight))(place)
        pixels_per_mm = brow.shape[1] / _BROW_MM
        column = np.linspace(0, brow.shape[1] - 1, _LENGTH)[None].repeat(_HEIGHT, 0)
        offset = (np.arange(_HEIGHT)[:, None] - (_HEIGHT - 1) / 2) / _HEIGHT * SPAN_MM * pixels_per_mm
        row = np.interp(column, place, arch) + offset
        straight.append(cv2.remap(brow, column.astype(np.float32), row.astype(np.float32), cv2.INTER_AREA))
    return np.clip((straight[0] + straight[1]) / 2, 0, 1)
