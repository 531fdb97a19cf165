"""The mean face put into a box: the baseline that a method must beat, and what a miss is scored by."""

from __future__ import annotations

import dataclasses

import numpy as np

from facerecon.checks import check_finite, check_shape
from facerecon.errors import FaceError
from facerecon.metrics.pose import CAMERA_FLIP

FRONTAL = np.diag(CAMERA_FLIP)


@dataclasses.dataclass(frozen=True)
class MeanFace:
    """A mean shape in model space: landmarks68 (68, 3) mm, vertices (V, 3) mm or None, and their topology's name."""

    landmarks68: np.ndarray
    vertices: np.ndarray | None = None
    topology: str | None = None


def pose_in_box(landmarks68: np.ndarray, box: np.ndarray, rotation: np.ndarray) -> tuple[float, np.ndarray]:
    """Scale (px/mm) and translation (2,) px that put a turned mean face into a box.

    The box of the 68 projected landmarks gets the same centre and the same area as `box` (x0, y0, x1, y1).

    Raises:
        FaceError: `box_invalid` for a box without area.
    """
    check_shape("landmarks68", landmarks68, (68, 3))
    box = check_finite("box", np.asarray(box, dtype=np.float64).reshape(-1))
    check_shape("box", box, (4,))
    width, height = box[2] - box[0], box[3] - box[1]
    if not (width > 0 and height > 0):
        raise FaceError(f"box: wanted x1 > x0 and y1 > y0, got {box.tolist()}", code="box_invalid")
    plane = (landmarks68 @ rotation.T)[:, :2]
    low, high = plane.min(axis=0), plane.max(axis=0)
    scale = float(np.sqrt(width * height / np.prod(high - low)))
    return scale, (box[:2] + box[2:]) / 2 - scale * (low + high) / 2


def project(points: np.ndarray, *, rotation: np.ndarray, scale: float, translation: np.ndarray) -> np.ndarray:
    """Scaled orthographic projection of (N, 3) mm: px, px, depth px."""
    projected = points @ (scale * rotation.T)
    projected[:, :2] += translation
    return projected


def place_in_box(face: MeanFace, box: np.ndarray, rotation: np.ndarray = FRONTAL) -> dict[str, np.ndarray | None]:
    """The mean face in a box, frontal or turned: `landmarks68`, `vertices` (or None) and `rotation` of a prediction."""
    scale, translation = pose_in_box(face.landmarks68, box, rotation)
    return posed(face, rotation=rotation, scale=scale, translation=translation)


def posed(face: MeanFace, *, rotation: np.ndarray, scale: float, translation: np.ndarray) -> dict[str, np.ndarray | None]:
    """The mean face under a scaled orthographic pose, as the arrays of a prediction."""
    view = {"rotation": rotation, "scale": scale, "translation": translation}
    return {"landmarks68": project(face.landmarks68, **view), "rotation": rotation,
            "vertices": None if face.vertices is None else project(face.vertices, **view)}


def image_box(image_size: tuple[int, int]) -> np.ndarray:
    """The box of the whole image (width, height): [-0.5, -0.5, W - 0.5, H - 0.5]."""
    return np.array([-0.5, -0.5, image_size[0] - 0.5, image_size[1] - 0.5])
