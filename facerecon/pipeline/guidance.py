"""How far the fit of a face follows the encoder, and how far the detector's landmarks."""

from __future__ import annotations

import math

import numpy as np

from facerecon.detection.boxes import iou, points_box
from facerecon.fitting import LandmarkGuide
from facerecon.morphable import FaceParameters

# Degrees between the directions of face and camera over which trust passes from the landmarks to the encoder: the detector
# was made for faces that look at the camera.
TURN_START_DEG, TURN_END_DEG = 35.0, 65.0
# Weight of the encoder's points before and after.
GUIDE_LEAST, GUIDE_MOST = 0.1, 2.0
# What remains of the landmarks' weight after.
LANDMARKS_LEAST = 0.4
# An answer whose landmarks' box overlaps the detector's less is that of another face, or of none.
LEAST_OVERLAP = 0.25


def turn_degrees(parameters: FaceParameters) -> float:
    """The angle between the face's direction and the camera's, 0 for a frontal face, in degrees."""
    return math.degrees(math.acos(min(max(-float(parameters.pose.rotation[2, 2]), -1.0), 1.0)))


def near_face(landmarks68: np.ndarray, box: np.ndarray) -> bool:
    """Whether an encoder's landmarks (68, 2) px lie in a detector's box (4,) px, so that they can guide a fit."""
    return float(iou(points_box(landmarks68), np.asarray(box, np.float64)[None])[0]) >= LEAST_OVERLAP


def guidance(encoded: FaceParameters, landmarks68: np.ndarray, count: int) -> tuple[LandmarkGuide, np.ndarray]:
    """The guide of a fit to `count` landmarks of a detector, and the landmarks' weights (count,).

    Args:
        encoded: an encoder's answer, whose turn decides.
        landmarks68: (68, 2) px, what it says of the landmarks.
        count: of the detector's landmarks.
    """
    along = min(max((turn_degrees(encoded) - TURN_START_DEG) / (TURN_END_DEG - TURN_START_DEG), 0.0), 1.0)
    turned = along * along * (3.0 - 2.0 * along)
    guide = LandmarkGuide(landmarks68, np.full(len(landmarks68), GUIDE_LEAST + (GUIDE_MOST - GUIDE_LEAST) * turned))
    return guide, np.full(count, 1.0 + (LANDMARKS_LEAST - 1.0) * turned)
