"""One face found in a photo."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

TOO_SMALL_PX = 24
LOW_QUALITY_PX = 48


@dataclass(frozen=True, eq=False)
class DetectedFace:
    """One face found in a photo. All points and boxes are in px of the photo, origin at the centre of its top-left pixel.

    Attributes:
        box: (4,) float32 x0, y0, x1, y1, from brow to chin and ear to ear or so; it may reach outside the photo.
        confidence: estimated probability in [0, 1] that this is a face, see `facerecon.detection.confidence`.
        points478: (478, 3) float32 MediaPipe landmarks, the last ten the irises; z in px, smaller is nearer, its zero near
            the head's centre. None when no dense landmarks agree with the box. They lean to a half profile beyond 45 degrees
            of yaw.
        points5: (5, 2) float32 right eye, left eye (of the person: left and right in the picture), nose tip, right and left
            corner of the mouth. None when unknown.
        yaw_deg: rough yaw from the five points, positive when the face looks to the picture's left; None when unknown.
        blendshapes: the 52 MediaPipe scores (ARKit names and `_neutral`) in [0, 1], or None.
        source: which detectors saw it: "mtcnn", "mediapipe", "both", "yunet" or "box" (given by the caller).
        flags: "too_small" (box under 24 px), "low_quality" (under 48 px), "partial" (box leaves the photo), "rotated_90",
            "rotated_180", "rotated_270" (the face lies turned clockwise by about that angle), "no_dense_landmarks".
    """

    box: np.ndarray
    confidence: float
    points478: np.ndarray | None = None
    points5: np.ndarray | None = None
    yaw_deg: float | None = None
    blendshapes: dict[str, float] | None = None
    source: str = "both"
    flags: tuple[str, ...] = field(default=())

    @property
    def size(self) -> float:
        """Square root of the box area, px."""
        return float(np.sqrt((self.box[2] - self.box[0]) * (self.box[3] - self.box[1])))
