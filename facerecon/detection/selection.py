"""Which faces of a photo are worked on: those that a detector finds, or those in boxes that the caller gives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facerecon.detection.confidence import ACCEPTED
from facerecon.detection.face import DetectedFace
from facerecon.detection.finder import FaceFinder
from facerecon.errors import ArgumentError, FaceError, FaceReconError


def face_limit(faces: str | int) -> int | None:
    """How many of the largest faces are meant by "all" (None), "largest" (1) or a number.

    Raises:
        ArgumentError: anything else.
    """
    if faces == "all":
        return None
    if faces == "largest":
        return 1
    if isinstance(faces, int) and not isinstance(faces, bool) and faces > 0:
        return faces
    raise ArgumentError(f"faces: wanted 'all', 'largest' or a number from 1, got {faces!r}")


def choose_faces(finder: FaceFinder, pixels: np.ndarray, *, boxes: Sequence[Sequence[float]] | None = None,
                 limit: int | None = None) -> list[DetectedFace | FaceReconError]:
    """The faces of a photo that are large enough, largest first; at least one entry.

    Args:
        finder: looks for faces, or into the boxes.
        pixels: uint8 RGB (H, W, 3).
        boxes: faces as (x0, y0, x1, y1) px instead of detection; results come in their order, with an error in the place of a
            box that holds no usable face.
        limit: most faces, None for all.

    Raises:
        FaceError: `no_face`, `face_too_small`; `box_invalid` when `boxes` is empty.
    """
    if boxes is not None:
        if not len(boxes):
            raise FaceError("boxes: wanted at least one box for this photo, got none", code="box_invalid")
        return [_in_box(finder, pixels, box) for box in boxes[:limit]]
    faces = finder.find(pixels)
    if not faces:
        raise FaceError("no face found; if there is one, give its place with boxes=[(x0, y0, x1, y1)]", code="no_face")
    large = [face for face in faces if "too_small" not in face.flags]
    if not large:
        raise FaceError(f"wanted faces of at least 24 px, the largest is {max(face.size for face in faces):.0f} px; "
                        "give a larger photo", code="face_too_small")
    return large[:limit]


def _in_box(finder: FaceFinder, pixels: np.ndarray, box: Sequence[float]) -> DetectedFace | FaceReconError:
    try:
        face = finder.landmarks_in_box(pixels, box)
    except FaceReconError as error:
        return error
    if "too_small" in face.flags:
        return FaceError(f"box {list(box)}: wanted a face of at least 24 px, got {face.size:.0f} px", code="face_too_small")
    # The caller vouches for the box, but where neither detector nor landmarks see a face there is nothing to work on.
    if face.points478 is None and face.confidence < ACCEPTED:
        return FaceError(f"box {list(box)}: no face found in it; check the box, its order is x0, y0, x1, y1", code="no_face")
    return face
