"""Boxes (N, 4) x0, y0, x1, y1: overlap, suppression, squares, checks. Coordinates are continuous; no plus one anywhere."""

from __future__ import annotations

import numpy as np

from facerecon.errors import FaceError


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (N,) of boxes (N, 4); inverted boxes have area 0."""
    return np.maximum(boxes[..., 2] - boxes[..., 0], 0) * np.maximum(boxes[..., 3] - boxes[..., 1], 0)


def intersections(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Areas (N,) that `box` (4,) shares with each of `boxes` (N, 4)."""
    wide = np.minimum(box[2], boxes[:, 2]) - np.maximum(box[0], boxes[:, 0])
    high = np.minimum(box[3], boxes[:, 3]) - np.maximum(box[1], boxes[:, 1])
    return np.maximum(wide, 0) * np.maximum(high, 0)


def iou(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union (N,) of `box` (4,) with each of `boxes` (N, 4); 0 for empty boxes."""
    shared = intersections(box, boxes)
    return shared / np.maximum(areas(box) + areas(boxes) - shared, 1e-12)


def suppress(boxes: np.ndarray, scores: np.ndarray, threshold: float, *, by_smaller: bool = False) -> np.ndarray:
    """Greedy non-maximum suppression: indices of the kept boxes, best first.

    Args:
        boxes: (N, 4).
        scores: (N,) larger is better; equal scores keep their order.
        threshold: a box that overlaps a kept one by more than this goes.
        by_smaller: measure overlap by the smaller of the two areas instead of the union, so that a box inside another goes.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    area = areas(boxes)
    while order.size:
        best, order = order[0], order[1:]
        kept.append(best)
        shared = intersections(boxes[best], boxes[order])
        whole = np.minimum(area[best], area[order]) if by_smaller else area[best] + area[order] - shared
        order = order[shared <= threshold * np.maximum(whole, 1e-12)]
    return np.array(kept, dtype=np.int64)


def squares(boxes: np.ndarray) -> np.ndarray:
    """Boxes of equal centre whose sides are the longer side of each box."""
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def points_box(points: np.ndarray) -> np.ndarray:
    """Smallest box (4,) that holds points (N, 2 or more)."""
    return np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)])


def checked_box(box: object, width: int, height: int) -> np.ndarray:
    """A caller's box as float64 (4,), refused unless it is a finite box of at least 2 px that meets the picture.

    It is not clipped: a face may well be cut by the picture's edge.

    Raises:
        FaceError: `box_invalid`.
    """
    try:
        array = np.asarray(box, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError) as error:
        raise FaceError(f"box: wanted four numbers x0, y0, x1, y1, got {box!r}", code="box_invalid") from error
    if array.shape != (4,) or not np.isfinite(array).all():
        raise FaceError(f"box: wanted four finite numbers x0, y0, x1, y1, got {array.tolist()}", code="box_invalid")
    x0, y0, x1, y1 = array
    if x1 - x0 < 2 or y1 - y0 < 2:
        raise FaceError(f"box: wanted x1 > x0 and y1 > y0 by at least 2 px, got {array.tolist()}", code="box_invalid")
    if x1 <= -0.5 or y1 <= -0.5 or x0 >= width - 0.5 or y0 >= height - 0.5:
        raise FaceError(f"box: wanted a box that meets the {width} x {height} picture, got {array.tolist()}", code="box_invalid")
    if max(x1 - x0, y1 - y0) > 4 * max(width, height):
        raise FaceError(f"box: wanted a box of at most four times the {width} x {height} picture, got {array.tolist()}",
                        code="box_invalid")
    return array
